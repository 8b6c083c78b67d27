#include "data/corpus/archives.h"

#include <fnmatch.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "base/log.h"
#include "base/process.h"
#include "base/quantity.h"
#include "base/threads.h"
#include "data/corpus/parsers/lines.h"
#include "io/checksum.h"
#include "io/writer_lock.h"

namespace troupe::corpus {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxControlBytes = 1 << 20;
constexpr const char* kOffline = "--packages-dir uses archives that you already have";

// The lines of a program's messages that say what went wrong ("E: ..."), else all of them.
std::string complaint(const ProcessResult& result) {
  std::string errors;
  for_each_line(result.errors, [&](std::string_view line) {
    if (line.starts_with("E: ")) (errors += errors.empty() ? "" : "; ") += line;
  });
  return errors.empty() ? std::string(trim(result.errors)) : errors;
}

ProcessResult run_apt(const std::vector<std::string>& argv, const fs::path& folder) {
  ProcessResult result = run_program(argv, folder);
  if (result.status == 127)
    fail(ErrorCode::kEnvironment, "{}: expected this program, got none in PATH (Debian and its relatives have it; {})",
         argv[0], kOffline);
  return result;
}

// linux-doc-* becomes the highest version that apt knows.
std::string resolve(const std::string& pattern, const fs::path& folder) {
  if (pattern.find('*') == std::string::npos) return pattern;
  const ProcessResult result = run_apt({"apt-cache", "pkgnames", pattern.substr(0, pattern.find('*'))}, folder);
  std::vector<std::string> names;
  for_each_line(result.output, [&](std::string_view line) {
    const std::string name(line);
    const std::string_view number = line.substr(std::min(line.size(), pattern.find('*')));
    const size_t digits = std::min(number.find_first_not_of("0123456789."), number.size());
    if (digits > 0 && fnmatch(pattern.c_str(), name.c_str(), 0) == 0 &&
        number.substr(digits) == std::string_view(pattern).substr(pattern.find('*') + 1))
      names.push_back(name);
  });
  if (names.empty())
    fail(ErrorCode::kEnvironment,
         "{}: expected a package of this name in apt's lists, got none (run apt-get update; {})", pattern, kOffline);
  return *std::max_element(names.begin(), names.end(),
                           [](const auto& a, const auto& b) { return strverscmp(a.c_str(), b.c_str()) < 0; });
}

struct Announced {
  std::string file;
  uint64_t bytes = 0;
  std::string sha256;
};

// `apt-get download --print-uris` prints a line per package: 'URI' FILE SIZE SHA256:HEX
std::vector<Announced> announced_files(const std::string& output) {
  std::vector<Announced> files;
  for_each_line(output, [&](std::string_view line) {
    if (!line.starts_with('\'')) return;
    std::vector<std::string> words;
    for (line = line.substr(line.find('\'', 1) + 1); !(line = trim(line)).empty();) {
      words.emplace_back(line.substr(0, line.find(' ')));
      line.remove_prefix(words.back().size());
    }
    if (words.size() < 2) return;
    Announced file{words[0], std::strtoull(words[1].c_str(), nullptr, 10), {}};
    if (words.size() > 2 && words[2].starts_with("SHA256:")) file.sha256 = words[2].substr(7);
    files.push_back(std::move(file));
  });
  return files;
}

bool is_present(const Announced& announced, const fs::path& cache) {
  std::error_code error;
  const fs::path file = cache / announced.file;
  return fs::file_size(file, error) == announced.bytes && !error &&
         (announced.sha256.empty() || sha256_of_file(file) == announced.sha256);
}

// A Debian archive is an `ar` of two tar archives, `control` and `data`.
void for_each_file_of(const fs::path& file, std::string_view part, const MemberVisitor& visit) {
  try {
    bool found = false;
    for_each_member(*open_file(file.string()), [&](const std::string& path, ByteSource& bytes) {
      if (!path.starts_with(fmt::format("{}.tar", part))) return;
      found = true;
      for_each_member(bytes, visit);
    });
    if (!found) fail(ErrorCode::kData, "expected {}.tar in it, got none", part);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kData) throw;
    fail(ErrorCode::kData, "{}: expected a Debian archive: {}", file.string(), error.what());
  }
}

// In groups, so that the log tells how far it is and what an interruption leaves behind is whole.
void download(const std::vector<Announced>& files, const fs::path& cache) {
  constexpr uint64_t kGroupBytes = 64 << 20;
  const auto size = [](uint64_t bytes) { return short_bytes(static_cast<double>(bytes)); };
  uint64_t total = 0, done = 0;
  for (const Announced& file : files) total += file.bytes;
  log::info("corpus: downloading {}, {}, into {}", counted(static_cast<int64_t>(files.size()), "package"), size(total),
            cache.string());
  for (size_t next = 0; next < files.size();) {
    std::vector<std::string> command = {"apt-get", "download", "-q"};
    for (uint64_t bytes = 0; next < files.size() && bytes < kGroupBytes; ++next) {
      command.push_back(files[next].file.substr(0, files[next].file.find('_')));
      bytes += files[next].bytes;
      done += files[next].bytes;
    }
    const ProcessResult result = run_apt(command, cache);
    if (result.status != 0)
      fail(ErrorCode::kEnvironment, "apt-get: {} (is the network reachable? {})", complaint(result), kOffline);
    if (next < files.size())
      log::info("corpus: {} of {} packages are there, {} of {}", next, files.size(), size(done), size(total));
  }
}

Archive inspect(const fs::path& file) {
  Archive archive;
  for_each_file_of(file, "control", [&](const std::string& path, ByteSource& bytes) {
    if (path != "control") return;
    for_each_line(read_all(bytes, kMaxControlBytes), [&](std::string_view line) {
      if (line.starts_with("Package:")) archive.package = trim(line.substr(8));
      if (line.starts_with("Version:")) archive.version = trim(line.substr(8));
    });
  });
  if (archive.package.empty() || archive.version.empty())
    fail(ErrorCode::kData, "{}: control: expected Package and Version, got \"{}\" and \"{}\"", file.string(),
         archive.package, archive.version);
  archive.file = file;
  archive.bytes = fs::file_size(file);
  archive.sha256 = sha256_of_file(file);
  return archive;
}

}  // namespace

std::vector<Archive> download_archives(const std::vector<std::string>& packages, const fs::path& cache) {
  std::error_code error;
  fs::create_directories(cache, error);
  if (error) fail(ErrorCode::kEnvironment, "{}: cannot create this folder: {}", cache.string(), error.message());
  const WriterLock downloads(cache / "downloads");
  std::vector<std::string> names;
  for (const std::string& package : packages) names.push_back(resolve(package, cache));

  std::vector<std::string> query = {"apt-get", "download", "--print-uris"};
  query.insert(query.end(), names.begin(), names.end());
  // Not in the cache: apt says nothing about an archive that is complete in the current folder.
  const ProcessResult result = run_apt(query, "/");
  if (result.status != 0)
    fail(ErrorCode::kEnvironment, "apt-get: {} (run apt-get update as root; {})", complaint(result), kOffline);
  const std::vector<Announced> files = announced_files(result.output);
  if (files.size() != names.size())
    fail(ErrorCode::kEnvironment, "apt-get: expected {} archives announced, got {}: {}", names.size(), files.size(),
         complaint(result));

  std::vector<Announced> missing;
  std::copy_if(files.begin(), files.end(), std::back_inserter(missing),
               [&](const Announced& file) { return !is_present(file, cache); });
  if (missing.empty())
    log::info("corpus: all {} packages are in {}", names.size(), cache.string());
  else
    download(missing, cache);

  std::vector<Archive> archives(files.size());
  parallel_for(static_cast<int64_t>(files.size()), [&](int64_t i) {
    const size_t at = static_cast<size_t>(i);
    if (!is_present(files[at], cache))
      fail(ErrorCode::kEnvironment, "{}: expected the {} bytes that apt announced, got another file",
           (cache / files[at].file).string(), files[at].bytes);
    archives[at] = inspect(cache / files[at].file);
  });
  for (Archive& archive : archives) {
    const auto name = std::find(names.begin(), names.end(), archive.package);
    if (name != names.end()) archive.pattern = packages[static_cast<size_t>(name - names.begin())];
  }
  return archives;
}

std::vector<Archive> collect_archives(const std::vector<std::string>& packages, const fs::path& folder) {
  std::error_code error;
  std::vector<fs::path> files;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    if (it->path().extension() == ".deb") files.push_back(it->path());
  if (error) fail(ErrorCode::kData, "{}: cannot list this folder: {}", folder.string(), error.message());
  std::sort(files.begin(), files.end());
  std::vector<Archive> archives;
  std::string missing;
  for (const std::string& package : packages) {
    std::vector<fs::path> matching;
    for (const fs::path& file : files) {
      const std::string name = file.filename().string();
      if (fnmatch(package.c_str(), name.substr(0, name.find('_')).c_str(), 0) == 0) matching.push_back(file);
    }
    if (matching.empty()) (missing += missing.empty() ? "" : ", ") += package;
    if (matching.size() > 1)
      fail(ErrorCode::kData, "{}: expected one archive of {}, got {} and {}", folder.string(), package,
           matching[0].filename().string(), matching[1].filename().string());
    if (matching.size() == 1) {
      archives.push_back(inspect(matching[0]));
      archives.back().pattern = package;
    }
  }
  if (!missing.empty())
    fail(ErrorCode::kData, "{}: expected PACKAGE_*.deb for every package, got none for {}", folder.string(), missing);
  return archives;
}

void for_each_file(const Archive& archive, const MemberVisitor& visit) {
  for_each_file_of(archive.file, "data", visit);
}

}  // namespace troupe::corpus
