#include "data/corpus/build.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/quantity.h"
#include "base/threads.h"
#include "data/corpus/archives.h"
#include "data/corpus/furniture.h"
#include "data/corpus/manifest.h"
#include "data/corpus/parsers/parser.h"
#include "data/corpus/parts.h"
#include "data/text/byte_source.h"
#include "io/atomic_file.h"
#include "io/json_file.h"

namespace troupe::corpus {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxFileBytes = 1u << 30;

// What the rows of one package want of it.
struct Package {
  const Archive* archive;
  std::map<std::string, std::string> files;  // bytes by path, .gz files compressed and with their ending
  std::string copyright;                     // "" if there is none
};

// One file that one row of the list wants parsed.
struct Task {
  const Source* source;
  const Package* package;
  const std::pair<const std::string, std::string>* file;
};

struct Parsed {
  std::vector<CorpusDocument> documents;
  ParseCounts counts;
};

// A line of the log now and then while many things are read, from any thread.
class LoggedProgress {
 public:
  LoggedProgress(std::string_view what, size_t total) : what_(what), total_(total) {}
  void add() {
    const std::lock_guard lock(mutex_);
    ++done_;
    if (done_ == total_ || seconds_since(last_) < kLineSeconds) return;
    last_ = Clock::now();
    log::info("corpus: {} of {} {} are read", done_, total_, what_);
  }

 private:
  static constexpr double kLineSeconds = 5.0;
  std::string_view what_;
  size_t total_, done_ = 0;
  Clock::time_point last_ = Clock::now();
  std::mutex mutex_;
};

std::string without_gz(const std::string& path) {
  return path.ends_with(".gz") ? path.substr(0, path.size() - 3) : path;
}

// .gz and dictd's .dz are gzip.
std::string plain(const std::string& path, std::string bytes) {
  if (!path.ends_with(".gz") && !path.ends_with(".dz")) return bytes;
  return read_all(*gzip_source(memory_source(bytes)), kMaxFileBytes);
}

Package read_package(const Archive& archive, const Corpus& corpus) {
  Package package{&archive, {}, {}};
  const std::string copyright = fmt::format("usr/share/doc/{}/copyright", archive.package);
  for_each_file(archive, [&](const std::string& path, ByteSource& bytes) {
    if (path == copyright) package.copyright = read_all(bytes, kMaxFileBytes);
    if (std::any_of(corpus.sources.begin(), corpus.sources.end(), [&](const Source& source) {
          return reads_package(source, archive.pattern) && path_matches(source.paths, without_gz(path));
        }))
      package.files[path] = path == copyright ? package.copyright : read_all(bytes, kMaxFileBytes);
  });
  return package;
}

// A file that no row names, for parsers that need two: the archive is read again.
std::string read_other_file(const Archive& archive, const std::string& wanted) {
  std::optional<std::string> found;
  for_each_file(archive, [&](const std::string& path, ByteSource& bytes) {
    if (path == wanted) found = read_all(bytes, kMaxFileBytes);
  });
  if (!found) fail(ErrorCode::kData, "expected {} beside it, got none", wanted);
  return plain(wanted, std::move(*found));
}

// A file is on one side only: text that is held out must not train.
void check_sides(const std::vector<Task>& tasks) {
  std::map<const std::string*, const Source*> sources;
  for (const Task& task : tasks) {
    const auto [at, is_new] = sources.emplace(&task.file->first, task.source);
    if (!is_new && at->second->side != task.source->side)
      fail(ErrorCode::kInternal, "corpus: {}: {}: expected one side for each file, got {} ({}) and {} ({})",
           task.package->archive->package, task.file->first, name_of_enum(at->second->side), at->second->domain,
           name_of_enum(task.source->side), task.source->domain);
  }
}

std::vector<Task> list_tasks(const Corpus& corpus, const std::vector<Package>& packages) {
  std::vector<Task> tasks;
  for (const Source& source : corpus.sources) {
    const size_t before = tasks.size();
    const Package* last = nullptr;
    for (const Package& package : packages) {
      if (!reads_package(source, package.archive->pattern)) continue;
      last = &package;
      for (const auto& file : package.files)
        if (path_matches(source.paths, without_gz(file.first))) tasks.push_back({&source, &package, &file});
    }
    if (!last) fail(ErrorCode::kInternal, "corpus: no archive for {}", source.package);
    if (tasks.size() == before)
      fail(ErrorCode::kData, "{}: expected files that match {}, got none (has the package changed its layout?)",
           last->archive->file.filename().string(), source.paths);
  }
  check_sides(tasks);
  return tasks;
}

Parsed parse(const Task& task) {
  Parsed parsed;
  parsed.counts.files = 1;
  const auto& [path, bytes] = *task.file;
  const Archive& archive = *task.package->archive;
  const std::string where = archive.package + "/" + without_gz(path);
  const auto emit = [&](const std::string& text) {
    if (text.find_first_not_of(" \t\r\n\f\v") == std::string::npos) {
      ++parsed.counts.empty;
      return;
    }
    std::string clean = clean_text(text);
    if (clean.empty()) {
      if (parsed.counts.not_utf8++ == 0) parsed.counts.first_not_utf8 = where;
      return;
    }
    parsed.documents.push_back({std::move(clean), where, std::string(task.source->domain), task.source->side});
  };
  try {
    const PackageFile file{without_gz(path), plain(path, bytes),
                           [&](const std::string& other) { return read_other_file(archive, other); }};
    find_parser(task.source->parser)(file, emit);
  } catch (const Error& error) {
    throw Error(error.code(), fmt::format("{}: {}", where, error.what()));
  }
  return parsed;
}

// Without what repeats around the text of a package's pages; a page that is nothing else counts as empty.
void drop_furniture_of_sites(const std::vector<Task>& tasks, std::vector<Parsed>& results) {
  std::map<const Package*, std::vector<std::string*>> sites;
  for (size_t i = 0; i < tasks.size(); ++i)
    if (has_furniture(tasks[i].source->parser))
      for (CorpusDocument& document : results[i].documents) sites[tasks[i].package].push_back(&document.text);
  for (auto& [package, pages] : sites) drop_furniture(pages);
  for (Parsed& parsed : results)
    parsed.counts.empty += static_cast<int64_t>(
        std::erase_if(parsed.documents, [](const CorpusDocument& document) { return document.text.empty(); }));
}

std::vector<CorpusDocument> parse_all(const std::vector<Task>& tasks, std::map<std::string, ParseCounts>& counts) {
  std::vector<Parsed> results(tasks.size());
  LoggedProgress progress("files", tasks.size());
  parallel_for(static_cast<int64_t>(tasks.size()), [&](int64_t i) {
    results[static_cast<size_t>(i)] = parse(tasks[static_cast<size_t>(i)]);
    progress.add();
  });
  drop_furniture_of_sites(tasks, results);
  std::vector<CorpusDocument> documents;
  for (size_t i = 0; i < tasks.size(); ++i) {
    ParseCounts& total = counts[std::string(tasks[i].source->domain)];
    const ParseCounts& one = results[i].counts;
    total.files += one.files;
    total.empty += one.empty;
    if (total.not_utf8 == 0) total.first_not_utf8 = one.first_not_utf8;
    total.not_utf8 += one.not_utf8;
    total.documents += static_cast<int64_t>(results[i].documents.size());
    std::move(results[i].documents.begin(), results[i].documents.end(), std::back_inserter(documents));
  }
  return documents;
}

// Writes each package's licence; "" for one that ships none.
std::vector<std::string> write_copyrights(const std::vector<Package>& packages, const fs::path& folder) {
  std::vector<std::string> paths;
  fs::create_directories(folder / "copyright");
  for (const Package& package : packages) {
    if (package.copyright.empty()) {
      log::warning("corpus: {} has no copyright file", package.archive->package);
      paths.emplace_back();
      continue;
    }
    paths.push_back("copyright/" + package.archive->package);
    write_file_atomically(folder / paths.back(), package.copyright);
  }
  return paths;
}

// The reason why `out` is not this corpus, complete; "" if it is.
std::string why_not_complete(const Corpus& corpus, const BuildOptions& options) {
  try {
    const ManifestSummary summary = read_manifest(options.out);
    if (summary.corpus != corpus.name) return fmt::format("it holds the corpus {}", summary.corpus);
    if (summary.recipe != recipe_checksum(corpus, options.rules)) return "it was built by another recipe";
    read_corpus(options.out);
    return {};
  } catch (const Error& error) {
    return error.what();
  }
}

}  // namespace

BuildResult build_corpus(const Corpus& corpus, const BuildOptions& given) {
  BuildResult result;
  BuildOptions options = given;
  options.rules.max_heldout_bytes = corpus.max_heldout_bytes;
  result.manifest = options.out / kManifestName;
  if (fs::exists(options.out) && !(fs::is_directory(options.out) && fs::is_empty(options.out))) {
    if (!fs::exists(result.manifest))
      fail(ErrorCode::kUsage, "--out: expected a new folder or a corpus, got {} without a {}", options.out.string(),
           kManifestName);
    if (holds_own_text(options.out) && !options.force)
      fail(ErrorCode::kUsage,
           "--out: expected a new folder or a corpus of packages, got {} of your own text (--force "
           "replaces it)",
           options.out.string());
    const std::string reason = why_not_complete(corpus, options);
    if (reason.empty() && !options.force) {
      result.already_complete = true;
      result.parts = read_corpus(options.out);
      return result;
    }
    log::info("corpus: building {} again: {}", options.out.string(), reason.empty() ? "--force" : reason);
  }

  AtomicDirectory out(options.out);  // from here on no other build of this folder
  const std::vector<std::string> names = corpus.packages();
  const std::vector<Archive> archives = options.packages_dir.empty() ? download_archives(names, options.cache)
                                                                     : collect_archives(names, options.packages_dir);
  log::info("corpus: reading {}", counted(static_cast<int64_t>(archives.size()), "package"));
  std::vector<Package> packages(archives.size());
  LoggedProgress progress("packages", archives.size());
  parallel_for(static_cast<int64_t>(archives.size()), [&](int64_t i) {
    packages[static_cast<size_t>(i)] = read_package(archives[static_cast<size_t>(i)], corpus);
    progress.add();
  });
  const std::vector<Task> tasks = list_tasks(corpus, packages);
  log::info("corpus: reading {}", counted(static_cast<int64_t>(tasks.size()), "file"));
  std::map<std::string, ParseCounts> parsed;
  std::vector<CorpusDocument> documents = parse_all(tasks, parsed);
  const std::vector<std::string> copyrights = write_copyrights(packages, out.path());
  std::vector<Package>().swap(packages);  // the rules need the memory
  for (const auto& [domain, counts] : parsed)
    if (counts.not_utf8)
      log::warning("corpus: {}: left out {} not in UTF-8, the first in {}", domain,
                   counted(counts.not_utf8, "document"), counts.first_not_utf8);
  log::info("corpus: applying the duplicate and overlap rules to {}",
            counted(static_cast<int64_t>(documents.size()), "document"));
  const auto reports = apply_rules(documents, options.rules);
  log_report(reports);

  const std::vector<WrittenPart> parts = write_parts(documents, out.path());
  write_json_file(out.path() / kManifestName,
                  make_manifest(corpus, options.rules, archives, copyrights, parsed, reports, parts));
  out.commit(AtomicDirectory::Existing::kReplace);
  result.parts = parts_in(options.out, parts);
  return result;
}

}  // namespace troupe::corpus
