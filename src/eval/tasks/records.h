// Evaluation data in its released file formats, as JSON records that know their file and line.
#pragma once

#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "troupe/fields.h"

namespace troupe {

enum class RecordFormat {
  kJsonl,    // one object a line
  kJson,     // one document; `each` names the list of records in it
  kCsv,      // header line; fields in double quotes may hold commas, line ends and doubled quotes (RFC 4180)
  kTsv,      // header line; a quote is a character like any other (GLUE)
  kCopaXml,  // <copa-corpus><item id asks-for most-plausible-alternative><p/><a1/><a2/></item>: records like
             // SuperGLUE's
};
template <>
struct EnumNames<RecordFormat> {
  static constexpr std::array<std::pair<std::string_view, RecordFormat>, 5> values = {
      {{"jsonl", RecordFormat::kJsonl},
       {"json", RecordFormat::kJson},
       {"csv", RecordFormat::kCsv},
       {"tsv", RecordFormat::kTsv},
       {"copa_xml", RecordFormat::kCopaXml}}};
};

struct Record {
  std::shared_ptr<nlohmann::json> value;  // an object; the fields of a table are texts
  std::string where;                      // "dev.jsonl:12"
  std::string label_where;                // "dev-labels.lst:12", if the label is from there
};

struct RecordOptions {
  RecordFormat format = RecordFormat::kJsonl;
  std::string each;                 // kJson: path of the list, "data.intrasentence"
  std::vector<std::string> expand;  // paths of lists: one record per element, which takes the list's place
  std::vector<std::pair<std::string, std::string>> rename;  // columns: from, to
  bool may_be_empty = false;                                // no record at all is no error
};

// `text` is the content of a file called `where`; a byte-order mark in front is no part of it, line ends may be CRLF,
// blank lines count for nothing. Throws kData naming file, line and field: bytes that are not UTF-8 text, JSON that is
// broken or no object, a row with another number of columns than the header, an unclosed quote, a list that is missing,
// no record at all.
std::vector<Record> parse_records(std::string_view text, const std::string& where, const RecordOptions& options);

// Puts line i of a label file into field `label` of record i, as text. Throws kData if the file is not UTF-8 text, the
// numbers of lines differ, a line is blank, or the record has another label already.
void add_labels(std::string_view text, const std::string& where, std::vector<Record>& records);

// A record's id is its own: the same item twice would count twice.
class RecordIds {
 public:
  // Throws kData for a blank id, and for one that another record has, naming both places.
  void add(const std::string& id, const std::string& where);

 private:
  std::unordered_map<std::string, std::string> places_;
};

// Whether something has this name, if only a folder or what may not be read: reading it says what is wrong.
bool is_there(const std::filesystem::path& path);
// `path`, or with .zst or .gz at its end; empty if none of them is there.
std::filesystem::path find_text_file(const std::filesystem::path& path);

// The content of a file, decompressed if its name ends in .zst or .gz. Throws kData naming it: a folder, a file that
// cannot be opened, damaged compressed data, a file beside it that differs only by .zst or .gz (which of them is
// meant?).
std::string read_text_file(const std::filesystem::path& path);

}  // namespace troupe
