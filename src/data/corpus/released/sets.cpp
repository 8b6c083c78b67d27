#include "data/corpus/released/sets.h"

#include <fnmatch.h>

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "data/corpus/parsers/lines.h"
#include "data/corpus/released/warc.h"
#include "data/corpus/released/wikitext.h"
#include "data/corpus/sources.h"
#include "data/text/archive.h"
#include "data/text/json_line.h"
#include "data/text/line_reader.h"

namespace troupe::corpus {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxArchiveDepth = 4;  // an archive in an archive ...

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

bool has_ending(std::string_view name, std::initializer_list<std::string_view> endings) {
  return std::any_of(endings.begin(), endings.end(), [&](std::string_view ending) { return name.ends_with(ending); });
}

// What a file holds, by its name in lower case.
enum class Form { kUnknown, kArchive, kText, kJsonLines, kXml, kWarc };

Form form_of(std::string name) {
  const bool compressed = has_ending(name, {".gz", ".bz2", ".xz", ".zst"});
  if (compressed) name.resize(name.rfind('.'));
  if (has_ending(name, {".tar", ".tgz", ".txz", ".tbz2", ".zip"})) return Form::kArchive;
  if (has_ending(name, {".txt"})) return Form::kText;
  if (has_ending(name, {".jsonl", ".ndjson", ".json"})) return Form::kJsonLines;
  if (has_ending(name, {".xml"})) return Form::kXml;
  if (has_ending(name, {".warc", ".wet"})) return Form::kWarc;
  return compressed ? Form::kArchive : Form::kUnknown;  // OpenWebText's parts are called urlsf_subset00-1_data.xz
}

// A text between blank lines each, or all of it.
void read_text(ByteSource& bytes, bool whole, const TextVisitor& visit) {
  if (whole) return visit(read_all(bytes, kMaxReleasedBytes), "");
  LineReader reader(bytes, kMaxReleasedBytes);
  std::string text;
  int64_t first = 0;
  while (reader.next()) {
    if (is_blank(reader.line())) {
      if (!text.empty()) visit(std::move(text), std::to_string(first));
      text.clear();
      continue;
    }
    if (text.empty()) first = reader.number();
    text.append(reader.line()) += '\n';
  }
  if (!text.empty()) visit(std::move(text), std::to_string(first));
}

// The text of an article stands under one of two names.
void read_json_lines(ByteSource& bytes, const TextVisitor& visit) {
  LineReader reader(bytes, kMaxReleasedBytes);
  JsonLineParser parser;
  while (reader.next()) {
    if (is_blank(reader.line())) continue;
    JsonLineParser::Failure failure;
    std::string text;
    if (!parser.parse(reader.line(), failure)) fail(ErrorCode::kData, "line {}: {}", reader.number(), failure.message);
    JsonLineParser::Failure other;
    if (!parser.get("text", text, failure) && !parser.get("maintext", text, other)) {
      if (failure.reason != SkipReason::kMissingField)
        fail(ErrorCode::kData, "line {}: {}", reader.number(), failure.message);
      fail(ErrorCode::kData, "line {}: expected a string \"text\" or \"maintext\", got neither", reader.number());
    }
    visit(std::move(text), std::to_string(reader.number()));
  }
}

void read_form(const ReleasedSet& set, Form form, ByteSource& bytes, const TextVisitor& visit, int depth);

void read_archive(const ReleasedSet& set, ByteSource& bytes, const TextVisitor& visit, int depth) {
  if (depth == kMaxArchiveDepth) fail(ErrorCode::kData, "expected at most {} archives in each other", kMaxArchiveDepth);
  for_each_member(bytes, [&](const std::string& path, ByteSource& member) {
    const Form form = form_of(lower(path));
    if (form == Form::kUnknown || fs::path(path).filename().string().starts_with('.')) return;
    read_form(
        set, form, member,
        [&](std::string text, const std::string& place) {
          visit(std::move(text), place.empty() ? path : path + ":" + place);
        },
        depth + 1);
  });
}

void read_form(const ReleasedSet& set, Form form, ByteSource& bytes, const TextVisitor& visit, int depth) {
  if (form == Form::kArchive) return read_archive(set, bytes, visit, depth);
  const auto plain = decompressed_source(bytes);
  const bool whole = set.domain == "bookcorpus" || set.domain == "openwebtext";
  switch (form) {
    case Form::kText:
      return read_text(*plain, whole, visit);
    case Form::kJsonLines:
      return read_json_lines(*plain, visit);
    case Form::kXml:
      return read_wikipedia(*plain, visit);
    case Form::kWarc:
      return read_warc(*plain, visit);
    default:
      return;
  }
}

}  // namespace

const std::vector<ReleasedSet>& released_sets() {
  static const std::vector<ReleasedSet> sets = {
      {"bookcorpus", "BookCorpus", 4, "bookcorpus* books1*", ".txt, a book each, in folders or tar"},
      {"wikipedia", "English Wikipedia", 12, "wikipedia* enwiki*", "pages-articles .xml, .xml.bz2"},
      {"cc_news", "CC-News", 76, "cc_news* cc-news* ccnews*", ".warc.gz, or .jsonl with \"text\" or \"maintext\""},
      {"openwebtext", "OpenWebText", 38, "openwebtext*", "tar of .xz parts, which are tar of .txt"},
      {"cc_stories", "CC-Stories", 31, "cc_stories* cc-stories* stories*", ".txt, a blank line between texts"},
      {"cc100", "CC100", 292, "cc100* cc-100* en.txt*", "en.txt.xz, a blank line between documents"},
  };
  return sets;
}

double released_gigabytes() {
  double sum = 0;
  for (const ReleasedSet& set : released_sets()) sum += set.gigabytes;
  return sum;
}

std::vector<fs::path> files_of_set(const ReleasedSet& set, const fs::path& folder) {
  std::error_code error;
  std::vector<fs::path> files;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    if (!path_matches(set.names, lower(it->path().filename().string()))) continue;
    if (!it->is_directory()) {
      files.push_back(it->path());
      continue;
    }
    for (fs::recursive_directory_iterator inner(it->path(), fs::directory_options::follow_directory_symlink, error),
         last;
         !error && inner != last; inner.increment(error))
      if (inner->is_regular_file() && !inner->path().filename().string().starts_with('.'))
        files.push_back(inner->path());
    if (error) break;
  }
  if (error) fail(ErrorCode::kData, "{}: cannot list this folder: {}", folder.string(), error.message());
  std::sort(files.begin(), files.end());
  return files;
}

bool read_released_file(const ReleasedSet& set, const fs::path& file, const TextVisitor& visit) {
  const Form form = form_of(lower(file.filename().string()));
  if (form == Form::kUnknown || (form == Form::kXml) != (set.domain == "wikipedia")) return false;
  try {
    read_form(set, form, *open_file(file.string()), visit, 0);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kData) throw;
    fail(ErrorCode::kData, "{}: {}", file.string(), error.what());
  }
  return true;
}

}  // namespace troupe::corpus
