#include "io/fields.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "base/nearest.h"
#include "base/utf8.h"

namespace troupe {
namespace {

std::string number_text(double value) {
  std::string text = fmt::format("{}", value);
  return text.find_first_of(".e") == text.npos ? text + ".0" : text;
}

// "in [0, 64]", "at least 1", "at most 1" or "".
std::string range_text(const Range& range) {
  const bool low = std::isfinite(range.low), high = std::isfinite(range.high);
  const auto plain = [](double value) {
    return value == std::floor(value) && std::abs(value) < 1e15 ? fmt::format("{:.0f}", value)
                                                                : fmt::format("{}", value);
  };
  if (low && high) return fmt::format(" in [{}, {}]", plain(range.low), plain(range.high));
  if (low) return " of at least " + plain(range.low);
  if (high) return " of at most " + plain(range.high);
  return {};
}

bool within(const Range& range, double value) {
  return std::isfinite(value) && value >= range.low && value <= range.high;
}

std::optional<int64_t> whole(const GivenValue& given) {
  if (const auto* integer = std::get_if<int64_t>(&given.value)) return *integer;
  constexpr double kExact = 9007199254740992.0;  // 2^53: every whole number up to here is a double
  if (const auto* number = std::get_if<double>(&given.value))
    if (*number == std::floor(*number) && std::abs(*number) <= kExact) return static_cast<int64_t>(*number);
  return std::nullopt;
}

bool is_utf8(const GivenValue& given) {
  if (const auto* text = std::get_if<std::string>(&given.value)) return !find_invalid_utf8(*text);
  if (const auto* list = std::get_if<std::vector<std::string>>(&given.value))
    return std::none_of(list->begin(), list->end(), [](const std::string& text) { return find_invalid_utf8(text); });
  return true;
}

// True if the value has the field's type and range; then it is stored.
bool store(Field& field, const GivenValue& given) {
  switch (field.kind) {
    case FieldKind::kBool:
      if (const auto* value = std::get_if<bool>(&given.value)) return *static_cast<bool*>(field.value) = *value, true;
      return false;
    case FieldKind::kInt: {
      const std::optional<int64_t> value = whole(given);
      if (!value || !within(field.range, static_cast<double>(*value))) return false;
      *static_cast<int64_t*>(field.value) = *value;
      return true;
    }
    case FieldKind::kDouble: {
      const auto* integer = std::get_if<int64_t>(&given.value);
      const auto* number = std::get_if<double>(&given.value);
      if (!integer && !number) return false;
      const double value = integer ? static_cast<double>(*integer) : *number;
      if (!within(field.range, value)) return false;
      *static_cast<double*>(field.value) = value;
      return true;
    }
    case FieldKind::kString:
      if (const auto* value = std::get_if<std::string>(&given.value))
        return *static_cast<std::string*>(field.value) = *value, true;
      return false;
    case FieldKind::kEnum:
      if (const auto* value = std::get_if<std::string>(&given.value)) {
        const auto found = std::find(field.names.begin(), field.names.end(), *value);
        if (found == field.names.end()) return false;
        field.set_enum(field.value, static_cast<size_t>(found - field.names.begin()));
        return true;
      }
      return false;
    case FieldKind::kStrings:
      if (const auto* value = std::get_if<std::vector<std::string>>(&given.value))
        return *static_cast<std::vector<std::string>*>(field.value) = *value, true;
      return false;
    case FieldKind::kInts: {
      std::vector<int64_t> numbers;
      if (const auto* list = std::get_if<std::vector<int64_t>>(&given.value)) numbers = *list;
      else if (const auto* texts = std::get_if<std::vector<std::string>>(&given.value); !texts || !texts->empty())
        return false;  // an empty list is one of either kind
      if (!std::all_of(numbers.begin(), numbers.end(),
                       [&](int64_t number) { return within(field.range, static_cast<double>(number)); }))
        return false;
      *static_cast<std::vector<int64_t>*>(field.value) = std::move(numbers);
      return true;
    }
    case FieldKind::kDoubles: {  // a list, or one number
      std::vector<double> numbers;
      if (const auto* reals = std::get_if<std::vector<double>>(&given.value)) numbers = *reals;
      else if (const auto* list = std::get_if<std::vector<int64_t>>(&given.value)) numbers.assign(list->begin(), list->end());
      else if (const auto* real = std::get_if<double>(&given.value)) numbers = {*real};
      else if (const auto* integer = std::get_if<int64_t>(&given.value)) numbers = {static_cast<double>(*integer)};
      else if (const auto* texts = std::get_if<std::vector<std::string>>(&given.value); !texts || !texts->empty())
        return false;  // an empty list is one of any kind
      if (!std::all_of(numbers.begin(), numbers.end(), [&](double number) { return within(field.range, number); }))
        return false;
      *static_cast<std::vector<double>*>(field.value) = std::move(numbers);
      return true;
    }
  }
  return false;
}

}  // namespace

GivenValue list_of(const std::vector<GivenValue>& items) {
  std::vector<std::string> texts;
  std::vector<int64_t> whole_numbers;
  std::vector<double> numbers;
  bool real = false;
  for (const GivenValue& item : items) {
    const auto* text = std::get_if<std::string>(&item.value);
    const auto* integer = std::get_if<int64_t>(&item.value);
    const auto* number = std::get_if<double>(&item.value);
    const bool fits = text ? numbers.empty() : texts.empty() && (integer || number);
    if (!fits) return {.value = {}, .text = "a list with " + item.text};
    if (text) texts.push_back(*text);
    if (integer) whole_numbers.push_back(*integer);
    if (!text) numbers.push_back(integer ? static_cast<double>(*integer) : *number);
    real |= number != nullptr;
  }
  if (real) return {.value = numbers, .text = fmt::format("[{}]", fmt::join(numbers, ", "))};
  if (!numbers.empty()) return {.value = whole_numbers, .text = fmt::format("[{}]", fmt::join(whole_numbers, ", "))};
  return {.value = texts, .text = "a list"};
}

Field* FieldList::find(std::string_view path) {
  const auto found =
      std::find_if(fields_.begin(), fields_.end(), [&](const Field& field) { return field.path == path; });
  return found == fields_.end() ? nullptr : &*found;
}

bool FieldList::is_table(std::string_view path) const {
  return std::any_of(fields_.begin(), fields_.end(), [&](const Field& field) {
    return field.path.size() > path.size() && field.path.compare(0, path.size(), path) == 0 &&
           field.path[path.size()] == '.';
  });
}

std::vector<std::string> FieldList::tables() const {
  std::vector<std::string> tables;
  for (const Field& field : fields_)
    if (std::find(tables.begin(), tables.end(), table_of(field)) == tables.end()) tables.push_back(table_of(field));
  std::stable_partition(tables.begin(), tables.end(), [](const std::string& table) { return table.empty(); });
  return tables;
}

std::string FieldList::nearest_to(std::string_view path) const {
  std::vector<std::string> paths, namesakes;  // train.lr: rather train.schedule.lr than train.seed
  const std::string_view key = path.substr(path.rfind('.') + 1);
  for (const Field& field : fields_) {
    paths.push_back(field.path);
    if (key_of(field) == key) namesakes.push_back(field.path);
  }
  return nearest(path, namesakes.empty() ? paths : namesakes);
}

std::string table_of(const Field& field) {
  const size_t dot = field.path.rfind('.');
  return dot == field.path.npos ? std::string() : field.path.substr(0, dot);
}

std::string key_of(const Field& field) {
  const size_t dot = field.path.rfind('.');
  return dot == field.path.npos ? field.path : field.path.substr(dot + 1);
}

void assign(Field& field, const GivenValue& given, ErrorCode code, std::string_view where) {
  const bool writable = is_utf8(given);  // as TOML and JSON, in the folder of a run
  if (writable && store(field, given)) return;
  std::string hint = writable ? "" : " (not UTF-8, as files of configurations must be)";
  if (const auto* text = std::get_if<std::string>(&given.value); text && field.kind == FieldKind::kEnum)
    hint = fmt::format(" (did you mean {}?)", nearest(*text, field.names));
  constexpr size_t kLongest = 80;
  const std::string got = given.text.size() <= kLongest ? given.text : given.text.substr(0, kLongest) + "...";
  fail(code, "{}: {}: expected {}, got {}{}", where, field.path, expected_values(field), got, hint);
}

void fail_unknown_key(const FieldList& fields, std::string_view path, ErrorCode code, std::string_view where) {
  const std::string near = fields.nearest_to(path);
  fail(code, "{}: {}: expected a known key, got this one{}", where, path,
       near.empty() ? "" : fmt::format(" (did you mean {}?)", near));
}

std::string expected_values(const Field& field) {
  switch (field.kind) {
    case FieldKind::kBool:
      return "true or false";
    case FieldKind::kInt:
      return "a whole number" + range_text(field.range);
    case FieldKind::kDouble:
      return "a number" + range_text(field.range);
    case FieldKind::kString:
      return "a string";
    case FieldKind::kEnum:
      return fmt::format("one of {}", fmt::join(field.names, ", "));
    case FieldKind::kStrings:
      return "a list of strings";
    case FieldKind::kInts:
      return "a list of whole numbers" + range_text(field.range);
    case FieldKind::kDoubles:
      return "a number or a list of numbers" + range_text(field.range);
  }
  return {};
}

std::string toml_string(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\u{:04x}", byte);
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string value_text(const Field& field) {
  switch (field.kind) {
    case FieldKind::kBool:
      return *static_cast<const bool*>(field.value) ? "true" : "false";
    case FieldKind::kInt:
      return fmt::format("{}", *static_cast<const int64_t*>(field.value));
    case FieldKind::kDouble:
      return number_text(*static_cast<const double*>(field.value));
    case FieldKind::kString:
      return toml_string(*static_cast<const std::string*>(field.value));
    case FieldKind::kEnum:
      return toml_string(field.names[field.enum_index(field.value)]);
    case FieldKind::kStrings: {
      std::vector<std::string> items;
      for (const std::string& item : *static_cast<const std::vector<std::string>*>(field.value))
        items.push_back(toml_string(item));
      return fmt::format("[{}]", fmt::join(items, ", "));
    }
    case FieldKind::kInts:
      return fmt::format("[{}]", fmt::join(*static_cast<const std::vector<int64_t>*>(field.value), ", "));
    case FieldKind::kDoubles: {
      std::vector<std::string> items;
      for (const double item : *static_cast<const std::vector<double>*>(field.value)) items.push_back(number_text(item));
      return fmt::format("[{}]", fmt::join(items, ", "));
    }
  }
  return {};
}

std::vector<std::string> differences(const FieldList& a, const FieldList& b, std::string_view name_a,
                                     std::string_view name_b) {
  std::vector<std::string> lines;
  for (size_t i = 0; i < a.fields().size(); ++i) {
    const std::string in_a = value_text(a.fields()[i]), in_b = value_text(b.fields()[i]);
    if (in_a != in_b)
      lines.push_back(fmt::format("{}: {} in {}, {} in {}", a.fields()[i].path, in_a, name_a, in_b, name_b));
  }
  return lines;
}

}  // namespace troupe
