#include "study/metrics_export.h"

#include <bit>
#include <boost/crc.hpp>
#include <cmath>
#include <cstring>
#include <ctime>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/atomic_file.h"
#include "io/json_file.h"
#include "io/json_text.h"
#include "study/csv.h"

namespace troupe {
namespace {

using nlohmann::json;

// "2026-01-31T12:00:00Z" in provenance.date; 0 without it.
double wall_time_of(const json& line) {
  const json date = line.value("provenance", json::object()).value("date", json());
  std::tm time{};
  if (!date.is_string() || !strptime(date.get_ref<const std::string&>().c_str(), "%Y-%m-%dT%H:%M:%SZ", &time))
    return 0.0;
  return static_cast<double>(timegm(&time));
}

std::string text_of(const json& line, const char* key) {
  const json value = line.value(key, json());
  return value.is_string() ? value.get<std::string>() : "?";
}

// What stands between the tags of one kind of line and its numbers.
std::string prefix_of(const json& line) {
  const std::string schema = text_of(line, "schema");
  if (schema == "troupe.train/1") return "train/";
  if (schema == "troupe.valid/1") return "valid/" + text_of(line, "data") + "/";
  if (schema == "troupe.task/1") return "task/" + text_of(line, "task") + "/" + text_of(line, "convention") + "/";
  return {};
}

void add_numbers(std::vector<Scalar>& scalars, const json& object, const std::string& prefix, Scalar at) {
  for (const auto& [key, value] : object.items()) {
    if (!value.is_number() || key == "step" || key == "layer") continue;
    at.tag = prefix + key;
    at.value = value.get<double>();
    scalars.push_back(at);
  }
}

void add_line(std::vector<Scalar>& scalars, const json& line, int64_t step) {
  const std::string prefix = prefix_of(line);
  if (prefix.empty()) return;  // a sample
  const Scalar at{.tag = {}, .step = step, .wall_time = wall_time_of(line)};
  if (prefix.starts_with("task/")) {
    json named = {{text_of(line, "metric"), line.value("value", json())},
                  {text_of(line, "metric") + "_stderr", line.value("stderr", json())}};
    return add_numbers(scalars, named, prefix, at);
  }
  add_numbers(scalars, line, prefix, at);
  for (const json& layer : line.value("moe", json::array()))
    if (layer.is_object() && layer.contains("layer"))
      add_numbers(scalars, layer, fmt::format("moe/layer{}/", json_text(layer["layer"])), at);
}

// Numbers of a record, little-endian.
template <class T>
std::string bytes_of(T value) {
  static_assert(std::endian::native == std::endian::little);
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

std::string varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
  return bytes + static_cast<char>(value);
}

// Fields of a protocol buffer: the key is (number << 3 | wire type), types 0 varint, 1 64 bits, 2 length, 5 32 bits.
std::string varint_field(int number, uint64_t value) { return varint(number << 3) + varint(value); }
std::string double_field(int number, double value) { return varint(number << 3 | 1) + bytes_of(value); }
std::string float_field(int number, float value) { return varint(number << 3 | 5) + bytes_of(value); }
std::string bytes_field(int number, const std::string& value) {
  return varint(number << 3 | 2) + varint(value.size()) + value;
}

std::string masked_crc(const std::string& bytes) {
  boost::crc_optimal<32, 0x1EDC6F41, 0xFFFFFFFF, 0xFFFFFFFF, true, true> sum;  // CRC-32C (Castagnoli)
  sum.process_bytes(bytes.data(), bytes.size());
  const uint32_t crc = sum.checksum();
  return bytes_of(static_cast<uint32_t>(((crc >> 15) | (crc << 17)) + 0xa282ead8U));
}

std::string record(const std::string& data) {
  const std::string length = bytes_of(static_cast<uint64_t>(data.size()));
  return length + masked_crc(length) + data + masked_crc(data);
}

}  // namespace

std::vector<Scalar> read_scalars(const std::filesystem::path& metrics) {
  std::vector<Scalar> scalars;
  const std::string text = read_file(metrics);
  int64_t number = 0;
  for (size_t begin = 0, end; (end = text.find('\n', begin)) != text.npos; begin = end + 1) {
    const std::string where = fmt::format("{}:{}", metrics.string(), ++number);
    const json line = parse_json(text.substr(begin, end - begin), where);
    if (!line.is_object()) fail(ErrorCode::kData, "{}: expected a JSON object, got {}", where, json_excerpt(line));
    const json step = line.value("step", json());
    if (!step.is_number_integer())
      fail(ErrorCode::kData, "{}: step: expected a whole number, got {}", where, json_excerpt(step));
    add_line(scalars, line, step.get<int64_t>());
  }
  return scalars;
}

std::string to_csv(const std::vector<Scalar>& scalars) {
  std::vector<std::string> tags;  // in the order in which they first come
  std::map<std::string, size_t> column;
  std::map<int64_t, std::map<size_t, double>> rows;
  for (const Scalar& scalar : scalars) {
    const auto [at, is_new] = column.emplace(scalar.tag, tags.size());
    if (is_new) tags.push_back(scalar.tag);
    rows[scalar.step][at->second] = scalar.value;
  }
  std::string csv = "step";
  for (const std::string& tag : tags) csv += "," + csv_cell(tag);
  csv += "\n";
  for (const auto& [step, values] : rows) {
    csv += fmt::format("{}", step);
    for (size_t i = 0; i < tags.size(); ++i) {
      const auto value = values.find(i);
      csv += value == values.end() ? std::string(",") : fmt::format(",{}", value->second);
    }
    csv += "\n";
  }
  return csv;
}

std::string to_events(const std::vector<Scalar>& scalars) {
  const double start = scalars.empty() ? 0.0 : scalars.front().wall_time;
  std::string file = record(double_field(1, start) + bytes_field(3, "brain.Event:2"));
  for (const Scalar& scalar : scalars) {
    const std::string value = bytes_field(1, scalar.tag) + float_field(2, static_cast<float>(scalar.value));
    file += record(double_field(1, scalar.wall_time) + varint_field(2, static_cast<uint64_t>(scalar.step)) +
                   bytes_field(5, bytes_field(1, value)));
  }
  return file;
}

}  // namespace troupe
