// manifest.json of a built corpus: what went in, what the rules removed, what came out.
#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "data/corpus/archives.h"
#include "data/corpus/build.h"
#include "data/corpus/own_text.h"
#include "data/text/reader.h"

namespace troupe::corpus {

inline constexpr const char* kManifestName = "manifest.json";
inline constexpr const char* kManifestFormat = "troupe.corpus/1";
inline constexpr const char* kOwnText = "own-text";  // the name of every corpus of users' own text

// Documents that never reached the rules.
struct ParseCounts {
  int64_t files = 0, documents = 0, empty = 0, not_utf8 = 0;
  std::string first_not_utf8;  // PACKAGE/PATH
};

struct WrittenPart {
  CorpusPart part;  // its file relative to the corpus folder
  uint64_t file_bytes = 0, xxh3 = 0;
};

// A checksum of everything that decides the result besides the archives: rows of the corpus and rules.
std::string recipe_checksum(const Corpus& corpus, const RuleOptions& rules);

nlohmann::ordered_json make_manifest(const Corpus& corpus, const RuleOptions& rules,
                                     const std::vector<Archive>& archives, const std::vector<std::string>& copyrights,
                                     const std::map<std::string, ParseCounts>& parsed,
                                     const std::map<std::string, DomainReport>& reports,
                                     const std::vector<WrittenPart>& parts);

// Of users' own text: what reading passed over stands in for packages and parsers.
nlohmann::ordered_json make_manifest(const OwnTextOptions& options, const std::map<std::string, TextStats>& read,
                                     const std::map<std::string, DomainReport>& reports,
                                     const std::vector<WrittenPart>& parts);

// Of released sets (released/paper.h): `sampling` decides what is taken, `absent` names the sets that were not there.
nlohmann::ordered_json make_manifest(const nlohmann::ordered_json& sampling, const nlohmann::ordered_json& domains,
                                     const nlohmann::ordered_json& absent, const std::vector<WrittenPart>& parts);

// The parts that a manifest lists, and its recipe; nothing is checked yet. Throws Error(kData).
struct ManifestSummary {
  std::string corpus, recipe;
  std::vector<WrittenPart> parts;
};
ManifestSummary read_manifest(const std::filesystem::path& folder);

}  // namespace troupe::corpus
