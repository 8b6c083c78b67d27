#include "data/corpus/parts.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"
#include "base/quantity.h"
#include "io/atomic_file.h"
#include "io/checksum.h"
#include "io/json_text.h"

namespace troupe::corpus {

namespace fs = std::filesystem;

std::vector<WrittenPart> write_parts(const std::vector<CorpusDocument>& documents, const fs::path& folder) {
  std::map<std::pair<int, std::string>, std::vector<const CorpusDocument*>> groups;
  for (const CorpusDocument& document : documents)
    groups[{static_cast<int>(document.split), document.domain}].push_back(&document);
  std::vector<WrittenPart> parts;
  for (const auto& [key, members] : groups) {
    WrittenPart written;
    written.part.split = static_cast<Split>(key.first);
    written.part.domain = key.second;
    written.part.file = fs::path(name_of_enum(written.part.split)) / (key.second + ".jsonl");
    written.part.documents = static_cast<int64_t>(members.size());
    fs::create_directories(folder / name_of_enum(written.part.split));
    FileWriter file(folder / written.part.file);
    for (const CorpusDocument* document : members) {
      written.part.bytes += static_cast<int64_t>(document->text.size());
      file.write(json_text(nlohmann::ordered_json{{"text", document->text}, {"source", document->source}}) + "\n");
    }
    const FileSummary summary = file.close();
    written.file_bytes = summary.bytes;
    written.xxh3 = summary.xxh3;
    parts.push_back(std::move(written));
  }
  return parts;
}

std::vector<CorpusPart> parts_in(const fs::path& folder, const std::vector<WrittenPart>& written) {
  std::vector<CorpusPart> parts;
  for (const WrittenPart& one : written) {
    parts.push_back(one.part);
    parts.back().file = folder / one.part.file;
  }
  return parts;
}

void log_report(const std::map<std::string, DomainReport>& reports) {
  for (const auto& [domain, r] : reports) {
    std::string line = fmt::format("corpus: {}:", domain);
    for (const Split split : {Split::kTrain, Split::kValid, Split::kHeldOut}) {
      const auto& kept = r.kept[static_cast<size_t>(split)];
      if (kept.documents)
        line += fmt::format(" {} {} {};", name_of_enum(split), counted(kept.documents, "document"),
                            short_bytes(static_cast<double>(kept.bytes)));
    }
    line += fmt::format(" removed {} exact and {}", r.exact_duplicates.documents,
                        counted(r.near_duplicates.documents, "near duplicate"));
    if (r.beyond_cap.documents)
      line += fmt::format(", {} beyond the size of a held-out domain", r.beyond_cap.documents);
    if (r.overlapping.documents) line += fmt::format(", {} that overlap training", r.overlapping.documents);
    if (r.passed_over.documents)
      line += fmt::format("; passed over {} for validation, which overlap others", r.passed_over.documents);
    for (const Split split : {Split::kValid, Split::kHeldOut}) {
      const size_t s = static_cast<size_t>(split);
      if (r.ngrams[s])
        line += fmt::format("; {:.3f} % of {} 13-grams are in training",
                            100.0 * static_cast<double>(r.shared_ngrams[s]) / static_cast<double>(r.ngrams[s]),
                            name_of_enum(split));
    }
    log::info("{}", line);
  }
}

std::vector<CorpusPart> read_corpus(const fs::path& folder) {
  std::vector<CorpusPart> parts;
  for (WrittenPart& written : read_manifest(folder).parts) {
    written.part.file = folder / written.part.file;
    std::error_code error;
    const uint64_t bytes = fs::file_size(written.part.file, error);
    if (error)
      fail(ErrorCode::kData, "{}: expected this file of the corpus: {}", written.part.file.string(), error.message());
    if (bytes != written.file_bytes || xxh3_of_file(written.part.file) != written.xxh3)
      fail(ErrorCode::kData, "{}: expected {} bytes with the checksum in {}, got another file ({} bytes)",
           written.part.file.string(), written.file_bytes, kManifestName, bytes);
    parts.push_back(std::move(written.part));
  }
  return parts;
}

}  // namespace troupe::corpus
