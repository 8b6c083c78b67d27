#include "study/metrics_export.h"

#include <bit>
#include <boost/crc.hpp>
#include <cmath>
#include <cstring>
#include <ctime>
#include <map>
#include <nlohmann/json.hpp>

#include "io/atomic_file.h"
#include "io/json_fields.h"
#include "io/json_file.h"
#include "study/csv.h"
#include "train/metrics.h"

namespace troupe {
namespace {

using nlohmann::json;

// What a line of any kind says besides its numbers.
struct LineHead {
  struct Provenance {
    std::string date;  // "2026-01-31T12:00:00Z"
    template <class V>
    void fields(V& v) {
      v.may_lack("date", date);
    }
  };
  struct Layer {
    int64_t layer = 0;
    template <class V>
    void fields(V& v) {
      v.count("layer", layer);
    }
  };
  int64_t step = 0;
  std::string schema, data = "?", task = "?", convention = "?", metric = "?";
  Provenance provenance;
  std::vector<Layer> moe;

  template <class V>
  void fields(V& v) {
    v("step", step), v("schema", schema), v.may_lack("data", data), v.may_lack("task", task);
    v.may_lack("convention", convention), v.may_lack("metric", metric), v.may_lack("provenance", provenance);
    v.may_lack("moe", moe);
  }

  double wall_time() const {  // 0 without a date
    std::tm time{};
    if (!strptime(provenance.date.c_str(), "%Y-%m-%dT%H:%M:%SZ", &time)) return 0.0;
    return static_cast<double>(timegm(&time));
  }
  // Stands between the tags and the numbers of this kind of line; none: it has no numbers to show.
  std::string prefix() const {
    if (schema == StepLine::kSchema) return "train/";
    if (schema == ValidLine::kSchema) return "valid/" + data + "/";
    if (schema == "troupe.task/1") return "task/" + task + "/" + convention + "/";
    return {};
  }
};

void add_numbers(std::vector<Scalar>& scalars, const json& object, const std::string& prefix, Scalar at) {
  for (const auto& [key, value] : object.items()) {
    if (!value.is_number() || key == "step" || key == "layer") continue;
    at.tag = prefix + key;
    at.value = value.get<double>();
    scalars.push_back(at);
  }
}

void add_line(std::vector<Scalar>& scalars, const json& line, const LineHead& head) {
  const std::string prefix = head.prefix();
  if (prefix.empty()) return;  // a sample
  const Scalar at{.tag = {}, .step = head.step, .wall_time = head.wall_time()};
  if (prefix.starts_with("task/")) {
    const json named = {{head.metric, line.value("value", json())},
                        {head.metric + "_stderr", line.value("stderr", json())}};
    return add_numbers(scalars, named, prefix, at);
  }
  add_numbers(scalars, line, prefix, at);
  for (size_t l = 0; l < head.moe.size(); ++l)
    add_numbers(scalars, line["moe"][l], fmt::format("moe/layer{}/", head.moe[l].layer), at);
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
    LineHead head;
    read_json_fields(line, where, head);
    add_line(scalars, line, head);
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
