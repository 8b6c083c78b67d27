#include "data/corpus/released/paper.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/quantity.h"
#include "base/threads.h"
#include "data/corpus/manifest.h"
#include "data/corpus/parts.h"
#include "data/corpus/released/sets.h"
#include "io/atomic_file.h"
#include "io/json_file.h"
#include "io/json_text.h"

namespace troupe::corpus {
namespace {

namespace fs = std::filesystem;
using PaperJson = nlohmann::ordered_json;

struct TakenEnough {};  // thrown to leave a set's readers

// One set on its way to two files.
class SetWriter {
 public:
  SetWriter(const ReleasedSet& set, const fs::path& folder, const PaperOptions& options)
      : set_(set), options_(options) {
    const std::string file = std::string(set.domain) + ".jsonl";
    for (const Split split : {Split::kTrain, Split::kValid}) {
      Side& side = sides_[static_cast<size_t>(split)];
      side.written.part = {
          .domain = std::string(set.domain), .split = split, .file = fs::path(name_of_enum(split)) / file};
      side.file.emplace(folder / side.written.part.file);
    }
    limit_ = static_cast<int64_t>(static_cast<double>(options.take_bytes) * set.gigabytes / released_gigabytes());
  }

  void read(const std::vector<fs::path>& files) {
    try {
      for (const fs::path& file : files) {
        const std::string where = file.lexically_relative(options_.from).generic_string();
        const bool used = read_released_file(set_, file, [&](const std::string& text, const std::string& place) {
          add(text, place.empty() ? where : where + ":" + place);
        });
        ++(used ? files_ : ignored_);
        if (!used && first_ignored_.empty()) first_ignored_ = where;
      }
    } catch (const TakenEnough&) {
      ++files_;
    }
  }

  std::vector<WrittenPart> close() {
    std::vector<WrittenPart> parts;
    for (const Split split : {Split::kTrain, Split::kValid}) {
      Side& side = sides_[static_cast<size_t>(split)];
      const FileSummary summary = side.file->close();
      side.written.file_bytes = summary.bytes;
      side.written.xxh3 = summary.xxh3;
      parts.push_back(side.written);
    }
    return parts;
  }

  PaperJson report() const {
    PaperJson entry{{"title", set_.title},
                    {"paper_gigabytes", set_.gigabytes},
                    {"parsed", PaperJson{{"files", files_},
                                         {"ignored_files", ignored_},
                                         {"skipped_empty", empty_},
                                         {"skipped_not_utf8", not_utf8_}}}};
    if (not_utf8_) entry["parsed"]["first_not_utf8"] = first_not_utf8_;
    if (ignored_) entry["parsed"]["first_ignored"] = first_ignored_;
    for (const Side& side : sides_)
      entry[std::string(name_of_enum(side.written.part.split))] =
          PaperJson{{"documents", side.written.part.documents}, {"bytes", side.written.part.bytes}};
    return entry;
  }

  void log_result() const {
    const CorpusPart &train = sides_[0].written.part, &valid = sides_[1].written.part;
    log::info("corpus: {}: {}: train {}, {}; valid {}, {}; passed over {}, {} not in UTF-8", set_.domain,
              counted(files_, "file"), counted(train.documents, "document"),
              short_bytes(static_cast<double>(train.bytes)), counted(valid.documents, "document"),
              short_bytes(static_cast<double>(valid.bytes)),
              counted(ignored_, "file of another kind", "files of other kinds"), counted(not_utf8_, "document"));
    if (valid.documents == 0)
      log::warning("corpus: {}: no document is validation at a share of {:.3g} (--valid-share takes more)", set_.domain,
                   options_.valid_share);
  }
  int64_t documents() const { return sides_[0].written.part.documents + sides_[1].written.part.documents; }

 private:
  void add(const std::string& raw, const std::string& source) {
    const std::string text = clean_text(raw);
    if (text.empty()) {
      const bool blank = raw.find_first_not_of(" \t\r\n\f\v") == std::string::npos;
      if (!blank && not_utf8_ == 0) first_not_utf8_ = source;
      ++(blank ? empty_ : not_utf8_);
      return;
    }
    Side& side = sides_[valid_position(text) < options_.valid_share];
    side.file->write(json_text(PaperJson{{"text", text}, {"source", source}}) + "\n");
    ++side.written.part.documents;
    side.written.part.bytes += static_cast<int64_t>(text.size());
    taken_ += static_cast<int64_t>(text.size());
    if (options_.take_bytes > 0 && taken_ >= limit_) throw TakenEnough();
    if (seconds_since(last_) < kLineSeconds) return;
    last_ = Clock::now();
    log::info("corpus: {}: {} so far", set_.domain, short_bytes(static_cast<double>(taken_)));
  }

  static constexpr double kLineSeconds = 30.0;
  struct Side {
    WrittenPart written;
    std::optional<FileWriter> file;
  };
  const ReleasedSet& set_;
  const PaperOptions& options_;
  std::array<Side, 2> sides_;  // train, valid
  int64_t limit_ = 0, taken_ = 0, files_ = 0, ignored_ = 0, empty_ = 0, not_utf8_ = 0;
  std::string first_not_utf8_, first_ignored_;
  Clock::time_point last_ = Clock::now();
};

void check_place(const PaperOptions& options) {
  const fs::path& out = options.out;
  if (!fs::is_directory(options.from))
    fail(ErrorCode::kUsage, "--from: expected a folder with the sets, got {}", options.from.string());
  if (!fs::exists(out) || (fs::is_directory(out) && fs::is_empty(out))) return;
  const bool corpus = fs::exists(out / kManifestName);
  if (corpus && options.force) return;
  fail(ErrorCode::kUsage, "--out: expected a new folder, got {}{}", out.string(),
       corpus ? ", which holds a corpus (--force replaces it)" : ", which is no corpus");
}

}  // namespace

BuildResult build_paper(const PaperOptions& options) {
  check_place(options);
  std::vector<std::pair<const ReleasedSet*, std::vector<fs::path>>> found;
  PaperJson absent = PaperJson::array();
  std::string expected;
  for (const ReleasedSet& set : released_sets()) {
    std::vector<fs::path> files = files_of_set(set, options.from);
    (expected += expected.empty() ? "" : ", ") += set.names.substr(0, set.names.find(' '));
    if (!files.empty()) {
      found.emplace_back(&set, std::move(files));
      continue;
    }
    absent.push_back(set.domain);
    log::info("corpus: {} is absent: no {} in {}", set.title, set.names, options.from.string());
  }
  if (found.empty())
    fail(ErrorCode::kUsage, "--from: expected at least one of {} in {}, got none", expected, options.from.string());

  AtomicDirectory out(options.out);  // from here on no other build of this folder
  for (const Split split : {Split::kTrain, Split::kValid}) fs::create_directories(out.path() / name_of_enum(split));
  std::vector<std::optional<SetWriter>> writers(found.size());
  for (size_t i = 0; i < found.size(); ++i) writers[i].emplace(*found[i].first, out.path(), options);
  parallel_for(static_cast<int64_t>(found.size()),
               [&](int64_t i) { writers[static_cast<size_t>(i)]->read(found[static_cast<size_t>(i)].second); });

  PaperJson sampling{{"valid_share", options.valid_share}, {"valid_by", "hash"}};
  if (options.take_bytes > 0) sampling["take_bytes"] = options.take_bytes;
  PaperJson domains;
  std::vector<WrittenPart> parts;
  for (size_t i = 0; i < found.size(); ++i) {
    if (writers[i]->documents() == 0)
      fail(ErrorCode::kData, "{}: expected {} ({}), got no document", found[i].second.front().string(),
           found[i].first->title, found[i].first->forms);
    for (WrittenPart& part : writers[i]->close()) parts.push_back(std::move(part));
    domains[std::string(found[i].first->domain)] = writers[i]->report();
    writers[i]->log_result();
  }
  std::stable_sort(parts.begin(), parts.end(),
                   [](const WrittenPart& a, const WrittenPart& b) { return a.part.split < b.part.split; });
  // Files without a document are no parts.
  std::erase_if(parts, [&](const WrittenPart& part) {
    return part.part.documents == 0 && fs::remove(out.path() / part.part.file);
  });
  write_json_file(out.path() / kManifestName, make_manifest(sampling, domains, absent, parts));
  out.commit(options.force ? AtomicDirectory::Existing::kReplace : AtomicDirectory::Existing::kRefuse);
  return {.already_complete = false, .parts = parts_in(options.out, parts), .manifest = options.out / kManifestName};
}

}  // namespace troupe::corpus
