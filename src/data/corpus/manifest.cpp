#include "data/corpus/manifest.h"

#include <charconv>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "data/corpus/released/paper.h"
#include "io/checksum.h"
#include "io/folder_name.h"
#include "io/json_fields.h"
#include "io/json_file.h"
#include "io/json_text.h"

namespace troupe::corpus {
namespace {

using Json = nlohmann::ordered_json;

// Raised when what they name gives other text, so that corpora built before are built again.
constexpr int kCleanTextVersion = 1;
constexpr int kParsersVersion = 2;  // with clean_text()

Json counts(const DomainReport::Counts& c) { return Json{{"documents", c.documents}, {"bytes", c.bytes}}; }

Json rules_json(const RuleOptions& rules) {
  Json json{{"valid_share", rules.valid_share},         {"min_valid_bytes", rules.min_valid_bytes},
            {"max_valid_share", rules.max_valid_share}, {"near_duplicate", rules.near_duplicate},
            {"overlap_words", rules.overlap_words},     {"max_overlap", rules.max_overlap}};
  if (rules.max_heldout_bytes > 0) json["max_heldout_bytes"] = rules.max_heldout_bytes;
  return json;
}

uint64_t checksum_of(const std::string& hex, const std::string& where) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(hex.data(), hex.data() + hex.size(), value, 16);
  if (error != std::errc() || end != hex.data() + hex.size())
    fail(ErrorCode::kData, "{}.xxh3: expected up to 16 hexadecimal digits, got {}", where, hex);
  return value;
}

struct PartEntry {
  std::string file, domain, xxh3;
  Split split = Split::kTrain;
  int64_t documents = 0, text_bytes = 0, file_bytes = 0;

  template <class V>
  void fields(V& v) {
    v("file", file), v("split", split), v("domain", domain), v.count("documents", documents);
    v.count("text_bytes", text_bytes), v.count("file_bytes", file_bytes), v("xxh3", xxh3);
  }
};

// Of the manifest what is read again.
struct ManifestFile {
  std::string corpus, recipe;
  std::vector<PartEntry> parts;

  void fields(JsonFieldReader& v) {
    v.constant("format", kManifestFormat);
    v("corpus", corpus), v("recipe", recipe), v("parts", parts);
  }
};

// What the rules removed and kept of one domain.
void add_report(Json& entry, const DomainReport& report) {
  entry["removed"] = Json{{"exact_duplicates", counts(report.exact_duplicates)},
                          {"near_duplicates", counts(report.near_duplicates)},
                          {"overlap_with_training", counts(report.overlapping)}};
  if (report.beyond_cap.documents) entry["removed"]["beyond_cap"] = counts(report.beyond_cap);
  entry["validation_passed_over"] = counts(report.passed_over);
  for (const Split split : {Split::kTrain, Split::kValid, Split::kHeldOut}) {
    const size_t s = static_cast<size_t>(split);
    if (report.kept[s].documents == 0) continue;
    Json& kept = entry[std::string(name_of_enum(split))] = counts(report.kept[s]);
    if (split == Split::kTrain) continue;
    kept["ngrams"] = report.ngrams[s];
    kept["ngrams_in_training"] = report.shared_ngrams[s];
  }
}

void add_parts(Json& manifest, const std::vector<WrittenPart>& parts) {
  for (const WrittenPart& written : parts)
    manifest["parts"].push_back(json_of(PartEntry{.file = written.part.file.generic_string(),
                                                  .domain = written.part.domain,
                                                  .xxh3 = to_hex(written.xxh3),
                                                  .split = written.part.split,
                                                  .documents = written.part.documents,
                                                  .text_bytes = written.part.bytes,
                                                  .file_bytes = static_cast<int64_t>(written.file_bytes)}));
}

// What reading passed over or changed, each kind with its first.
Json skips_json(const TextStats& stats) {
  Json skips = Json::object();
  const auto add = [&](std::string_view what, const TextStats::Skip& skip) {
    if (skip.count) skips[std::string(what)] = Json{{"count", skip.count}, {"first", skip.first}};
  };
  for (const auto& [name, reason] : EnumNames<SkipReason>::values) add(name, stats.skip(reason));
  add("ignored_files", stats.ignored_files);
  add("dangling_links", stats.dangling_links);
  add("repeated_links", stats.repeated_links);
  add("repeated_files", stats.repeated_files);
  return skips;
}

}  // namespace

std::string recipe_checksum(const Corpus& corpus, const RuleOptions& rules) {
  std::string text = fmt::format("{} {} {}\n", kParsersVersion, corpus.name, json_text(rules_json(rules)));
  for (const Source& s : corpus.sources)
    text += fmt::format("{}|{}|{}|{}|{}\n", s.package, s.domain, name_of_enum(s.side), s.parser, s.paths);
  return to_hex(xxh3(text));
}

Json make_manifest(const Corpus& corpus, const RuleOptions& rules, const std::vector<Archive>& archives,
                   const std::vector<std::string>& copyrights, const std::map<std::string, ParseCounts>& parsed,
                   const std::map<std::string, DomainReport>& reports, const std::vector<WrittenPart>& parts) {
  Json manifest{{"format", kManifestFormat},
                {"corpus", corpus.name},
                {"recipe", recipe_checksum(corpus, rules)},
                {"rules", rules_json(rules)}};
  for (size_t i = 0; i < archives.size(); ++i)
    manifest["packages"].push_back(Json{{"package", archives[i].package},
                                        {"version", archives[i].version},
                                        {"file", archives[i].file.filename().string()},
                                        {"bytes", archives[i].bytes},
                                        {"sha256", archives[i].sha256},
                                        {"copyright", copyrights[i]}});
  for (const auto& [domain, report] : reports) {
    Json entry;
    const ParseCounts& p = parsed.at(domain);
    entry["parsed"] = Json{{"files", p.files},
                           {"documents", report.parsed.documents},
                           {"bytes", report.parsed.bytes},
                           {"skipped_empty", p.empty},
                           {"skipped_not_utf8", p.not_utf8}};
    if (p.not_utf8) entry["parsed"]["first_not_utf8"] = p.first_not_utf8;
    add_report(entry, report);
    manifest["domains"][domain] = std::move(entry);
  }
  add_parts(manifest, parts);
  return manifest;
}

Json make_manifest(const OwnTextOptions& options, const std::map<std::string, TextStats>& read,
                   const std::map<std::string, DomainReport>& reports, const std::vector<WrittenPart>& parts) {
  const RuleOptions& rules = options.rules;
  Json decides{{"rules", Json{{"valid_share", rules.valid_share},
                              {"valid_by", "hash"},
                              {"near_duplicate", rules.near_duplicate},
                              {"overlap_words", rules.overlap_words},
                              {"max_overlap", rules.max_overlap}}},
               {"text", Json{{"field", options.text.field},
                             {"split", options.text.split == troupe::Split::kFile ? "file" : "blank-line"},
                             {"on_bad", options.text.on_bad == OnBad::kSkip ? "skip" : "stop"},
                             {"max_document_bytes", options.text.max_document_bytes}}}};
  for (const OwnDomain& domain : options.domains)
    decides["inputs"].push_back(
        Json{{"domain", domain.name}, {"side", name_of_enum(domain.side)}, {"path", domain.path}});
  Json manifest{{"format", kManifestFormat},
                {"corpus", kOwnText},
                {"recipe", to_hex(xxh3(fmt::format("{} {}", kCleanTextVersion, json_text(decides))))}};
  manifest.update(decides);
  for (const auto& [domain, report] : reports) {
    const TextStats& stats = read.at(domain);
    Json entry;
    entry["parsed"] = Json{{"files", stats.files},
                           {"documents", report.parsed.documents},
                           {"bytes", report.parsed.bytes},
                           {"skipped", skips_json(stats)}};
    add_report(entry, report);
    manifest["domains"][domain] = std::move(entry);
  }
  add_parts(manifest, parts);
  return manifest;
}

Json make_manifest(const Json& sampling, const Json& domains, const Json& absent,
                   const std::vector<WrittenPart>& parts) {
  const std::string decides = fmt::format("{} {}", kCleanTextVersion, json_text(sampling));
  Json manifest{{"format", kManifestFormat}, {"corpus", kPaperCorpus}, {"recipe", to_hex(xxh3(decides))},
                {"sampling", sampling},      {"absent", absent},       {"domains", domains}};
  add_parts(manifest, parts);
  return manifest;
}

ManifestSummary read_manifest(const std::filesystem::path& folder) {
  const std::string where = (folder / kManifestName).string();
  if (!std::filesystem::exists(where))
    fail(ErrorCode::kData, "{}: expected a corpus as `troupe corpus build` makes it, got {}", folder.string(),
         std::filesystem::is_directory(folder) ? fmt::format("a folder without a {}", kManifestName)
                                               : std::string("no folder of this name"));
  ManifestFile file;
  read_json_fields(read_json_file(where), where, file);
  ManifestSummary summary{file.corpus, file.recipe, {}};
  for (const PartEntry& entry : file.parts) {
    const std::string at = fmt::format("{}: parts[{}]", where, summary.parts.size());
    check_folder_name(entry.domain, ErrorCode::kData, at + ".domain");
    for (const WrittenPart& other : summary.parts)
      if (other.part.split == entry.split && other.part.domain == entry.domain)
        fail(ErrorCode::kData, "{}.domain: expected each domain of {} once, got {} again", at,
             name_of_enum(entry.split), entry.domain);
    summary.parts.push_back({.part = {.domain = entry.domain,
                                      .split = entry.split,
                                      .file = entry.file,
                                      .documents = entry.documents,
                                      .bytes = entry.text_bytes},
                             .file_bytes = static_cast<uint64_t>(entry.file_bytes),
                             .xxh3 = checksum_of(entry.xxh3, at)});
  }
  return summary;
}

}  // namespace troupe::corpus
