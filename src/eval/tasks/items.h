// A task's records as items: texts to be scored and which of them is right.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "eval/tasks/task_file.h"

namespace troupe {

struct Item {
  std::string where;                      // file and line
  std::string group;                      // "" without groups
  std::vector<std::string> contexts;      // one, or one per candidate
  std::vector<std::string> choices;       // one per candidate, or one for all
  std::vector<std::string> labels;        // one per candidate: what the data call it
  std::vector<int> gold;                  // right candidates; empty if the task has no labels
  std::vector<std::string> answers;       // texts of right answers, for squad_f1 and squad_em
  std::vector<std::string> calibrations;  // contexts to compare with (unconditional, average_option)

  size_t candidates() const { return std::max(contexts.size(), choices.size()); }
  const std::string& context(size_t candidate) const { return contexts[contexts.size() > 1 ? candidate : 0]; }
  const std::string& choice(size_t candidate) const { return choices[choices.size() > 1 ? candidate : 0]; }
};

// Records of one split with the derived fields in them.
struct SplitRecords {
  std::vector<Record> records;
  std::vector<std::filesystem::path> files;
  std::string checksum;  // XXH3-64 over the files' names and decompressed content, 16 hexadecimal digits
  int64_t skipped = 0;   // by the task's skip rule
};

// The files of a split below `data_dir`; empty if no source has them all there.
struct SplitFiles {
  const TaskSource* source = nullptr;
  std::vector<std::filesystem::path> records;
  std::filesystem::path labels;
};
SplitFiles find_split(const TaskFile& task, const std::filesystem::path& data_dir, const std::string& split);

// Throws kData: no files (naming what was looked for and where they are published), what read_text_file(),
// parse_records(), add_labels() and templates refuse, a duplicate id (naming both places), no record left.
SplitRecords load_split(const TaskFile& task, const std::filesystem::path& data_dir, const std::string& split);

// Throws kData naming file, line and key: a field that is missing, of another type, or empty in a context; an empty
// choice, fewer than two candidates where one is to be chosen, two candidates with one label, a label that no candidate
// has (in the label file, if there is one).
Item make_item(const TaskFile& task, const PromptSpec& spec, const Record& record);

}  // namespace troupe
