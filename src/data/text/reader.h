// Documents from users' own text: files, folders and standard input, one after the other, in bounded memory.
//
//   .txt               documents separated by blank lines, or the whole file as one (TextOptions::split)
//   .jsonl, .ndjson    one JSON object a line; the text is the string under TextOptions::field
//   .txt.zst, .jsonl.zst, .gz likewise, decompressed while reading
//   a folder           every such file below it, sorted by path, hidden ones and those behind links too (each folder
//                      and file once, however many links lead there); everything else is counted and the first of
//                      each named
//   -                  standard input, text or JSON lines (TextOptions::stdin_format)
//
// Nothing is dropped without being counted. Damage (see SkipReason) stops reading with an Error whose message names
// file and line, or is counted and passed over (OnBad::kSkip). Empty documents are always counted and passed over.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "troupe/fields.h"

namespace troupe {

class ByteSource;

struct Document {
  std::string text;    // valid UTF-8, not empty
  std::string source;  // path of the file, or "stdin"
  int64_t line = 0;    // first line of the document in its file, from 1
  std::string meta;    // the string under TextOptions::meta_field, if one was asked for
};

enum class TextFormat { kText, kJsonl };
template <>
struct EnumNames<TextFormat> {
  static constexpr std::array<std::pair<std::string_view, TextFormat>, 2> values = {
      {{"text", TextFormat::kText}, {"jsonl", TextFormat::kJsonl}}};
};

enum class Split { kBlankLine, kFile };
template <>
struct EnumNames<Split> {
  static constexpr std::array<std::pair<std::string_view, Split>, 2> values = {
      {{"blank-line", Split::kBlankLine}, {"file", Split::kFile}}};
};

enum class OnBad { kStop, kSkip };
template <>
struct EnumNames<OnBad> {
  static constexpr std::array<std::pair<std::string_view, OnBad>, 2> values = {
      {{"stop", OnBad::kStop}, {"skip", OnBad::kSkip}}};
};

struct TextOptions {
  std::string field = "text";       // key of the text in JSON lines; "a.b" reaches into objects
  std::string meta_field;           // key of a string kept with each document, e.g. "meta.pile_set_name"; "" for none
  Split split = Split::kBlankLine;  // what separates documents in plain text
  OnBad on_bad = OnBad::kStop;      // stop at the first damaged document, or count it and go on
  size_t max_document_bytes = 64 << 20;  // longer documents (and JSON lines) are damage: they are hardly ever prose
  TextFormat stdin_format = TextFormat::kText;
};

enum class SkipReason {
  kEmpty,
  kInvalidUtf8,
  kBadJson,
  kMissingField,
  kWrongType,
  kTooLong,
  kDamagedFile,
  kUnreadable  // a file or a folder that cannot be opened
};
template <>
struct EnumNames<SkipReason> {
  static constexpr std::array<std::pair<std::string_view, SkipReason>, 8> values = {
      {{"empty", SkipReason::kEmpty},
       {"invalid_utf8", SkipReason::kInvalidUtf8},
       {"bad_json", SkipReason::kBadJson},
       {"missing_field", SkipReason::kMissingField},
       {"wrong_type", SkipReason::kWrongType},
       {"too_long", SkipReason::kTooLong},
       {"damaged_file", SkipReason::kDamagedFile},
       {"unreadable", SkipReason::kUnreadable}}};
};

// A file of so many documents is more often a book or a dump whose documents are longer than a paragraph.
inline constexpr int64_t kManyParagraphs = 10'000;

struct TextStats {
  struct Skip {
    int64_t count = 0;
    std::string first;  // the message of the first one: file, line, what was expected
    void add(const std::string& message) {
      if (count++ == 0) first = message;
    }
  };
  int64_t documents = 0, bytes = 0;  // delivered; bytes of their text
  int64_t files = 0;
  Skip ignored_files;                 // in folders, by their names or because they are no files (sockets, ...)
  Skip dangling_links;                // in folders: links to nothing
  Skip repeated_links;                // in folders: links to a folder or file that is read anyway
  Skip repeated_files;                // given more than once, and read as often
  Skip many_paragraphs;               // plain text of kManyParagraphs or more documents at its blank lines
  Skip nul_documents;                 // documents with NUL bytes, which are kept
  int64_t crlf_files = 0;             // line ends read as LF
  int64_t byte_order_mark_files = 0;  // mark dropped
  std::array<Skip, EnumNames<SkipReason>::values.size()> skipped;

  Skip& skip(SkipReason reason) { return skipped[static_cast<size_t>(reason)]; }
  const Skip& skip(SkipReason reason) const { return skipped[static_cast<size_t>(reason)]; }
  int64_t total_skipped() const;
  // For people: the first line has the counts, one more line for each kind of skip and each thing changed.
  std::string report() const;
};

using DocumentSink = std::function<void(Document&&)>;

// Lists the inputs and reads nothing: throws what for_each_document() throws of their names and kinds.
void check_inputs(const std::vector<std::string>& inputs, const TextOptions& options);

// Reads every input in order and calls `sink` for each document, on the calling thread.
// Warns, in the log, of files that blank lines split into kManyParagraphs or more.
// Throws Error(kUsage) for an input of unknown kind, kData for one that does not exist or, with OnBad::kStop, is
// damaged.
TextStats for_each_document(const std::vector<std::string>& inputs, const TextOptions& options,
                            const DocumentSink& sink);

// The same for one open stream; `source` is its name in documents and messages. Adds to `stats`.
void read_documents(ByteSource& bytes, const std::string& source, TextFormat format, const TextOptions& options,
                    const DocumentSink& sink, TextStats& stats);

}  // namespace troupe
