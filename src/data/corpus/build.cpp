#include "data/corpus/build.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/log.h"
#include "base/threads.h"
#include "data/corpus/archives.h"
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

// One file that one row of the list wants parsed.
struct Task {
  const Source* source;
  fs::path root;     // of the unpacked package
  std::string path;  // below it, with .gz if it has one
};

struct Parsed {
  std::vector<CorpusDocument> documents;
  ParseCounts counts;
};

std::string without_gz(const std::string& path) {
  return path.ends_with(".gz") ? path.substr(0, path.size() - 3) : path;
}

// .gz and dictd's .dz are gzip.
std::string read_package_file(const fs::path& file) {
  auto bytes = open_file(file.string());
  if (file.extension() == ".gz" || file.extension() == ".dz") bytes = gzip_source(std::move(bytes));
  return read_all(*bytes, kMaxFileBytes);
}

std::vector<Task> list_tasks(const Corpus& corpus, const std::vector<Archive>& archives, const fs::path& unpacked) {
  std::vector<Task> tasks;
  for (const Source& source : corpus.sources) {
    const auto archive =
        std::find_if(archives.begin(), archives.end(), [&](const Archive& a) { return a.pattern == source.package; });
    if (archive == archives.end()) fail(ErrorCode::kInternal, "corpus: no archive for {}", source.package);
    const fs::path root = unpacked / archive->package;
    std::vector<std::string> paths;
    for (const auto& entry : fs::recursive_directory_iterator(root)) {
      if (entry.is_symlink() || !entry.is_regular_file()) continue;
      std::string path = fs::relative(entry.path(), root).generic_string();
      if (path_matches(source.paths, without_gz(path))) paths.push_back(std::move(path));
    }
    if (paths.empty())
      fail(ErrorCode::kData, "{}: expected files that match {}, got none (has the package changed its layout?)",
           archive->file.filename().string(), source.paths);
    std::sort(paths.begin(), paths.end());
    for (std::string& path : paths) tasks.push_back({&source, root, std::move(path)});
  }
  return tasks;
}

Parsed parse(const Task& task) {
  Parsed parsed;
  parsed.counts.files = 1;
  const std::string where = task.root.filename().string() + "/" + without_gz(task.path);
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
    PackageFile file{without_gz(task.path), read_package_file(task.root / task.path),
                     [&](const std::string& path) { return read_package_file(task.root / path); }};
    find_parser(task.source->parser)(file, emit);
  } catch (const Error& error) {
    throw Error(error.code(), fmt::format("{}: {}", where, error.what()));
  }
  return parsed;
}

std::vector<CorpusDocument> parse_all(const std::vector<Task>& tasks, std::map<std::string, ParseCounts>& counts) {
  std::vector<Parsed> results(tasks.size());
  parallel_for(static_cast<int64_t>(tasks.size()),
               [&](int64_t i) { results[static_cast<size_t>(i)] = parse(tasks[static_cast<size_t>(i)]); });
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

// Copies each package's licence; "" for one that ships none.
std::vector<std::string> copy_copyrights(const std::vector<Archive>& archives, const fs::path& unpacked,
                                         const fs::path& folder) {
  std::vector<std::string> paths;
  fs::create_directories(folder / "copyright");
  for (const Archive& archive : archives) {
    const fs::path from = unpacked / archive.package / "usr/share/doc" / archive.package / "copyright";
    if (!fs::exists(from)) {
      log::warning("corpus: {} has no copyright file", archive.package);
      paths.emplace_back();
      continue;
    }
    paths.push_back("copyright/" + archive.package);
    fs::copy_file(from, folder / paths.back());
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

BuildResult build_corpus(const Corpus& corpus, const BuildOptions& options) {
  BuildResult result;
  result.manifest = options.out / kManifestName;
  if (fs::exists(options.out) && !(fs::is_directory(options.out) && fs::is_empty(options.out))) {
    if (!fs::exists(result.manifest))
      fail(ErrorCode::kUsage, "--out: expected a new folder or a corpus, got {} without a {}", options.out.string(),
           kManifestName);
    if (holds_own_text(options.out) && !options.force)
      fail(ErrorCode::kUsage, "--out: expected a new folder or a corpus of packages, got {} of your own text (--force "
           "replaces it)", options.out.string());
    const std::string reason = why_not_complete(corpus, options);
    if (reason.empty() && !options.force) {
      result.already_complete = true;
      result.parts = read_corpus(options.out);
      return result;
    }
    log::info("corpus: building {} again: {}", options.out.string(), reason.empty() ? "--force" : reason);
  }

  AtomicDirectory out(options.out);  // from here on no other build of this folder
  const std::vector<std::string> packages = corpus.packages();
  const std::vector<Archive> archives = options.packages_dir.empty() ? download_archives(packages, options.cache)
                                                                     : collect_archives(packages, options.packages_dir);
  const AtomicDirectory unpacked(options.out.string() + ".unpacked");  // never committed: removed at the end
  log::info("corpus: unpacking {} packages", archives.size());
  parallel_for(static_cast<int64_t>(archives.size()), [&](int64_t i) {
    const Archive& archive = archives[static_cast<size_t>(i)];
    fs::create_directories(unpacked.path() / archive.package);
    unpack(archive, unpacked.path() / archive.package);
  });
  const std::vector<Task> tasks = list_tasks(corpus, archives, unpacked.path());
  log::info("corpus: reading {} files", tasks.size());
  std::map<std::string, ParseCounts> parsed;
  std::vector<CorpusDocument> documents = parse_all(tasks, parsed);
  for (const auto& [domain, counts] : parsed)
    if (counts.not_utf8)
      log::warning("corpus: {}: left out {} documents that are not UTF-8, the first in {}", domain, counts.not_utf8,
                   counts.first_not_utf8);
  log::info("corpus: applying the duplicate and overlap rules to {} documents", documents.size());
  const auto reports = apply_rules(documents, options.rules);
  log_report(reports);

  const std::vector<WrittenPart> parts = write_parts(documents, out.path());
  const std::vector<std::string> copyrights = copy_copyrights(archives, unpacked.path(), out.path());
  write_json_file(out.path() / kManifestName,
                  make_manifest(corpus, options.rules, archives, copyrights, parsed, reports, parts));
  out.commit(AtomicDirectory::Existing::kReplace);
  for (const WrittenPart& written : parts) {
    result.parts.push_back(written.part);
    result.parts.back().file = options.out / written.part.file;
  }
  return result;
}

}  // namespace troupe::corpus
