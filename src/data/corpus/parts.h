// The files of a corpus: DOMAIN.jsonl in a folder of each split, whatever the text came from.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "data/corpus/manifest.h"
#include "data/corpus/rules.h"

namespace troupe::corpus {

// Writes FOLDER/SPLIT/DOMAIN.jsonl; splits in order, domains by name, documents in theirs.
std::vector<WrittenPart> write_parts(const std::vector<CorpusDocument>& documents,
                                     const std::filesystem::path& folder);

// The same parts where they lie once `folder` is the corpus.
std::vector<CorpusPart> parts_in(const std::filesystem::path& folder, const std::vector<WrittenPart>& written);

// What the rules kept and removed: a line of the log for each domain.
void log_report(const std::map<std::string, DomainReport>& reports);

}  // namespace troupe::corpus
