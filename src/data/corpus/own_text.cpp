#include "data/corpus/own_text.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"
#include "base/quantity.h"
#include "data/corpus/manifest.h"
#include "data/corpus/parts.h"
#include "io/atomic_file.h"
#include "io/folder_name.h"
#include "io/json_file.h"

namespace troupe::corpus {
namespace {

namespace fs = std::filesystem;

const char* flag_of(const OwnDomain& domain) { return domain.side == Split::kHeldOut ? "--held-out" : "--domain"; }

bool lies_in(const fs::path& path, const fs::path& folder) {
  const fs::path inner = fs::weakly_canonical(path), outer = fs::weakly_canonical(folder);
  return std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end()).first == outer.end();
}

void check_domains(const OwnTextOptions& options) {
  FolderNames names;
  const OwnDomain* standard_input = nullptr;
  for (const OwnDomain& domain : options.domains) {
    const char* flag = flag_of(domain);
    names.add(domain.name, ErrorCode::kUsage, flag, "several paths of a domain: one folder");
    if (domain.path == "-") {
      if (standard_input)
        fail(ErrorCode::kUsage, "{}: {}: expected one domain from standard input, got {} as well", flag, domain.name,
             standard_input->name);
      standard_input = &domain;
    } else if (fs::is_directory(domain.path) && lies_in(options.out, domain.path)) {
      fail(ErrorCode::kUsage, "--out: expected a folder outside of the text, got {} in {} ({} {})",
           options.out.string(), domain.path, flag, domain.name);
    }
    check_inputs({domain.path}, options.text);  // of every domain before the first is read
  }
}

void check_out(const OwnTextOptions& options) {
  const fs::path& out = options.out;
  if (!fs::exists(out) || (fs::is_directory(out) && fs::is_empty(out))) return;
  const bool corpus = fs::exists(out / kManifestName);
  if (corpus && options.force) return;
  fail(ErrorCode::kUsage, "--out: expected a new folder, got {}{}", out.string(),
       corpus ? ", which holds a corpus (--force replaces it)" : ", which is no corpus");
}

std::vector<CorpusDocument> read_text(const OwnTextOptions& options, std::map<std::string, TextStats>& read) {
  std::vector<CorpusDocument> documents;
  for (const OwnDomain& domain : options.domains) {
    const TextStats stats = for_each_document({domain.path}, options.text, [&](Document&& document) {
      documents.push_back({std::move(document.text), fmt::format("{}:{}", document.source, document.line), domain.name,
                           domain.side});
    });
    log::info("corpus: {}: {}", domain.name, stats.report());
    if (stats.documents == 0)
      fail(ErrorCode::kData, "{}: {}: expected documents in {}, got none ({}, {} skipped)", flag_of(domain),
           domain.name, domain.path, counted(stats.files, "file"), stats.total_skipped());
    read[domain.name] = stats;
  }
  return documents;
}

// The least share with three digits that has one of these documents in validation.
double least_share(const std::vector<CorpusDocument>& documents, const std::string& domain) {
  double least = 1;
  for (const CorpusDocument& document : documents)
    if (document.domain == domain) least = std::min(least, valid_position(document.text));
  const double unit = std::pow(10.0, std::floor(std::log10(std::max(least, 1e-9))) - 2);
  return (std::floor(least / unit) + 1) * unit;
}

// Every domain has text to train and to validate on, or held-out text.
void check_rest(const OwnTextOptions& options, const std::vector<CorpusDocument>& documents,
                const std::map<std::string, DomainReport>& reports) {
  for (const OwnDomain& domain : options.domains) {
    const DomainReport& report = reports.at(domain.name);
    const int64_t left = report.kept[static_cast<size_t>(domain.side)].documents;
    const int64_t valid = report.kept[static_cast<size_t>(Split::kValid)].documents;
    const int64_t gone = report.exact_duplicates.documents + report.near_duplicates.documents;
    if (domain.side == Split::kTrain && valid == 0 && left > 0)
      fail(ErrorCode::kUsage,
           "--valid-share: {}: expected a share that leaves a validation document, got {}: of {} {} are "
           "duplicates, {} were chosen and went because they stand in training text ({})",
           domain.name, options.rules.valid_share, counted(report.parsed.documents, "document"), gone,
           report.overlapping.documents,
           report.overlapping.documents ? "a larger share chooses more"
                                        : fmt::format("{:.3g} chooses one", least_share(documents, domain.name)));
    if (left == 0)
      fail(ErrorCode::kData,
           "{}: {}: expected {} documents, got none: of {} {} are duplicates and {} stand in training text{}",
           flag_of(domain), domain.name, domain.side == Split::kTrain ? "training" : "held-out",
           report.parsed.documents, gone, report.overlapping.documents,
           valid ? fmt::format(", {} are validation (--valid-share is {})", valid, options.rules.valid_share) : "");
    if (domain.side == Split::kHeldOut && left < report.parsed.documents)
      log::warning(
          "corpus: {}: left out {} of {} held-out documents: {} are in the corpus already, {} overlap training",
          domain.name, report.parsed.documents - left, report.parsed.documents, report.exact_duplicates.documents,
          report.overlapping.documents);
  }
}

}  // namespace

bool holds_own_text(const fs::path& folder) {
  try {
    return read_manifest(folder).corpus == kOwnText;
  } catch (const Error&) {
    return false;
  }
}

BuildResult build_own_text(const OwnTextOptions& options) {
  check_domains(options);
  check_out(options);
  AtomicDirectory out(options.out);  // from here on no other build of this folder
  std::map<std::string, TextStats> read;
  std::vector<CorpusDocument> documents = read_text(options, read);
  log::info("corpus: applying the duplicate and overlap rules to {}",
            counted(static_cast<int64_t>(documents.size()), "document"));
  const auto reports = apply_rules(documents, options.rules);
  log_report(reports);
  check_rest(options, documents, reports);

  const std::vector<WrittenPart> parts = write_parts(documents, out.path());
  write_json_file(out.path() / kManifestName, make_manifest(options, read, reports, parts));
  out.commit(options.force ? AtomicDirectory::Existing::kReplace : AtomicDirectory::Existing::kRefuse);
  return {.already_complete = false, .parts = parts_in(options.out, parts), .manifest = options.out / kManifestName};
}

}  // namespace troupe::corpus
