#include "eval/tasks/records.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/utf8.h"
#include "data/text/byte_source.h"
#include "eval/tasks/copa_xml.h"
#include "eval/tasks/template.h"
#include "io/json_file.h"
#include "io/json_text.h"

namespace troupe {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxFileBytes = size_t{1} << 32;

int64_t line_of(std::string_view text, size_t byte) {
  return 1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(byte), '\n');
}

// The text without a byte-order mark. A NUL byte is valid UTF-8, but what holds one is no text.
std::string_view checked_text(std::string_view text, const std::string& where) {
  if (text.starts_with("\xFF\xFE") || text.starts_with("\xFE\xFF"))
    fail(ErrorCode::kData, "{}:1: expected UTF-8, got UTF-16 (convert it: iconv -f UTF-16 -t UTF-8)", where);
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  const size_t bad = std::min(find_invalid_utf8(text).value_or(text.npos), text.find('\0'));
  if (bad != text.npos) {
    const size_t line_end = bad == 0 ? text.npos : text.rfind('\n', bad - 1);
    fail(ErrorCode::kData, "{}:{}: expected UTF-8 text, got byte 0x{:02x} at byte {} of the line", where,
         line_of(text, bad), static_cast<uint8_t>(text[bad]), bad - (line_end + 1) + 1);
  }
  return text;
}

// Calls use(line, number) for each line without its end.
template <class Use>
void for_each_line(std::string_view text, const Use& use) {
  for (int64_t number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    use(line, number);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

void parse_jsonl(std::string_view text, const std::string& where, std::vector<Record>& records) {
  for_each_line(text, [&](std::string_view line, int64_t number) {
    if (is_blank(line)) return;
    std::string at = fmt::format("{}:{}", where, number);
    auto value = std::make_shared<Json>(parse_json(line, at));
    if (!value->is_object()) fail(ErrorCode::kData, "{}: expected a JSON object, got {}", at, value->type_name());
    records.push_back({std::move(value), std::move(at)});
  });
}

// The value at a path of keys, or nullptr.
Json* at_path(Json& value, std::string_view path) {
  Json* at = &value;
  while (!path.empty()) {
    const size_t dot = std::min(path.find('.'), path.size());
    if (!at->is_object()) return nullptr;
    const auto found = at->find(std::string(path.substr(0, dot)));
    if (found == at->end()) return nullptr;
    at = &*found;
    path.remove_prefix(std::min(dot + 1, path.size()));
  }
  return at;
}

void parse_json_document(std::string_view text, const std::string& where, const std::string& each,
                         std::vector<Record>& records) {
  Json document = parse_json(text, where);
  Json* const list = at_path(document, each);
  if (!list || !list->is_array())
    fail(ErrorCode::kData, "{}: {}expected a list of records, got {}", where, each.empty() ? "" : each + ": ",
         list ? list->type_name() : "none");
  for (Json& element : *list) {
    std::string at = fmt::format("{}: {}[{}]", where, each, records.size());
    if (!element.is_object()) fail(ErrorCode::kData, "{}: expected an object, got {}", at, element.type_name());
    records.push_back({std::make_shared<Json>(std::move(element)), std::move(at)});
  }
}

// One row of a table from text[at]; moves `at` behind its line end.
// Not libcsv 3.0: lenient, it takes the rest of the file for one field after an unclosed quote or text behind a closed
// one; strict, it refuses a quote within a plain field; and it does not say in which line a row begins.
std::vector<std::string> next_row(std::string_view text, size_t& at, char separator, bool quotes,
                                  const std::string& where) {
  std::vector<std::string> row(1);
  bool field_start = true;
  while (at < text.size()) {
    const char c = text[at];
    if (quotes && field_start && c == '"') {
      const size_t opened = at++;
      while (true) {
        const size_t quote = text.find('"', at);
        if (quote == text.npos)
          fail(ErrorCode::kData, "{}:{}: expected a closing quote, got the end of the file", where,
               line_of(text, opened));
        row.back().append(text.substr(at, quote - at));
        at = quote + 1;
        if (at >= text.size() || text[at] != '"') break;
        row.back() += '"';
        ++at;
      }
      if (at < text.size() && text[at] != separator && text[at] != '\n' && text[at] != '\r')
        fail(ErrorCode::kData,
             "{}:{}: expected a separator after the closing quote, got \"{}\" (the quote was opened in line {})", where,
             line_of(text, at), text[at], line_of(text, opened));
      field_start = false;
    } else if (c == separator) {
      row.emplace_back();
      field_start = true;
      ++at;
    } else if (c == '\n') {
      ++at;
      if (row.back().ends_with('\r')) row.back().pop_back();
      return row;
    } else {
      row.back() += c;
      field_start = false;
      ++at;
    }
  }
  if (row.back().ends_with('\r')) row.back().pop_back();
  return row;
}

void parse_table(std::string_view text, const std::string& where, char separator, bool quotes,
                 std::vector<Record>& records) {
  size_t at = 0;
  const std::vector<std::string> header = next_row(text, at, separator, quotes, where);
  for (size_t i = 0; i < header.size(); ++i)
    if (std::find(header.begin(), header.begin() + static_cast<std::ptrdiff_t>(i), header[i]) !=
        header.begin() + static_cast<std::ptrdiff_t>(i))
      fail(ErrorCode::kData, "{}:1: expected columns of different names, got \"{}\" twice", where, header[i]);
  int64_t number = 1;  // of the line of text[counted]
  for (size_t counted = 0; at < text.size();) {
    number += std::count(text.begin() + static_cast<std::ptrdiff_t>(counted),
                         text.begin() + static_cast<std::ptrdiff_t>(at), '\n');
    counted = at;
    const std::vector<std::string> row = next_row(text, at, separator, quotes, where);
    if (row.size() == 1 && row[0].empty()) continue;  // blank line
    std::string place = fmt::format("{}:{}", where, number);
    if (row.size() != header.size())
      fail(ErrorCode::kData, "{}: expected {} columns (as in the header), got {}", place, header.size(), row.size());
    auto value = std::make_shared<Json>(Json::object());
    for (size_t i = 0; i < row.size(); ++i) (*value)[header[i]] = row[i];
    records.push_back({std::move(value), std::move(place)});
  }
}

std::vector<Record> expanded(std::vector<Record> records, const std::string& path) {
  std::vector<Record> result;
  for (Record& record : records) {
    Json* list = at_path(*record.value, path);
    if (!list || !list->is_array())
      fail(ErrorCode::kData, "{}: {}: expected a list, got {}", record.where, path, list ? list->type_name() : "none");
    Json elements = std::move(*list);
    for (size_t i = 0; i < elements.size(); ++i) {
      *list = std::move(elements[i]);
      result.push_back({std::make_shared<Json>(*record.value), fmt::format("{}: {}[{}]", record.where, path, i)});
    }
  }
  return result;
}

}  // namespace

std::vector<Record> parse_records(std::string_view text, const std::string& where, const RecordOptions& options) {
  text = checked_text(text, where);
  std::vector<Record> records;
  switch (options.format) {
    case RecordFormat::kJsonl:
      parse_jsonl(text, where, records);
      break;
    case RecordFormat::kJson:
      parse_json_document(text, where, options.each, records);
      break;
    case RecordFormat::kCsv:
      parse_table(text, where, ',', true, records);
      break;
    case RecordFormat::kTsv:
      parse_table(text, where, '\t', false, records);
      break;
    case RecordFormat::kCopaXml:
      records = parse_copa_xml(text, where);
      break;
  }
  if (records.empty() && !options.may_be_empty)
    fail(ErrorCode::kData, "{}: expected at least one record, got none", where);
  for (const std::string& path : options.expand) records = expanded(std::move(records), path);
  for (const auto& [from, to] : options.rename)
    for (Record& record : records) {
      const auto found = record.value->find(from);
      if (found == record.value->end())
        fail(ErrorCode::kData, "{}: {}: expected this field, got a record without it", record.where, from);
      Json value = std::move(*found);
      record.value->erase(from);
      (*record.value)[to] = std::move(value);
    }
  return records;
}

void add_labels(std::string_view text, const std::string& where, std::vector<Record>& records) {
  text = checked_text(text, where);
  size_t next = 0;
  for_each_line(text, [&](std::string_view line, int64_t number) {
    const size_t first = line.find_first_not_of(" \t"), last = line.find_last_not_of(" \t");
    if (first == line.npos) fail(ErrorCode::kData, "{}:{}: expected a label, got a blank line", where, number);
    if (next >= records.size())
      fail(ErrorCode::kData, "{}:{}: expected {} labels, one per record, got more", where, number, records.size());
    Record& record = records[next++];
    std::string label(line.substr(first, last - first + 1));
    record.label_where = fmt::format("{}:{}", where, number);
    const auto own = record.value->find("label");
    if (own != record.value->end() && field_text(*own, Template::Fields::kName, record.where + ": label") != label)
      fail(ErrorCode::kData, "{}: expected the label that {} has itself, {}, got {}", record.label_where, record.where,
           json_excerpt(*own), label);
    (*record.value)["label"] = std::move(label);
  });
  if (next != records.size())
    fail(ErrorCode::kData, "{}: expected {} labels, one per record, got {}", where, records.size(), next);
}

void RecordIds::add(const std::string& id, const std::string& where) {
  if (is_blank(id)) fail(ErrorCode::kData, "{}: id: expected text, got an empty one", where);
  const auto [first, is_new] = places_.emplace(id, where);
  if (!is_new)
    fail(ErrorCode::kData, "{}: id: expected one of its own, got {}, which {} has", where, id, first->second);
}

bool is_there(const std::filesystem::path& path) {
  std::error_code error;
  return std::filesystem::exists(path, error) || error == std::errc::permission_denied;
}

std::filesystem::path find_text_file(const std::filesystem::path& path) {
  for (const char* extension : {"", ".zst", ".gz"})
    if (is_there(path.string() + extension)) return path.string() + extension;
  return {};
}

std::string read_text_file(const std::filesystem::path& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error))
    fail(ErrorCode::kData, "{}: expected a file, got a folder", path.string());
  const auto source = open_maybe_compressed(path.string());
  const bool compressed = path.extension() == ".zst" || path.extension() == ".gz";
  const std::string plain = compressed ? path.parent_path() / path.stem() : path;
  for (const char* extension : {"", ".zst", ".gz"})
    if (const std::string other = plain + extension; other != path && std::filesystem::exists(other, error))
      fail(ErrorCode::kData, "{}: expected one file of this name, got {} too (remove one of them)", path.string(),
           std::filesystem::path(other).filename().string());
  try {
    return read_all(*source, kMaxFileBytes);
  } catch (const Error& failure) {
    fail(failure.code(), "{}: {}", path.string(), failure.what());
  }
}

}  // namespace troupe
