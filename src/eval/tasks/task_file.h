// An evaluation task as a TOML file: where its data is, what a prompt looks like, how answers are scored. Adding a task
// needs no C++ (docs/evaluation.md describes every key; tasks/*.toml are the built-in ones).
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "eval/tasks/records.h"
#include "eval/tasks/template.h"
#include "troupe/fields.h"

namespace troupe {

// Two ways to ask and score, both named in every result.
enum class Convention {
  kPaper,    // Artetxe et al. 2021: end-of-text in front and for every line end, scores as in their table of tasks
  kHarness,  // EleutherAI's lm-evaluation-harness: raw line ends, acc, acc_norm
};
template <>
struct EnumNames<Convention> {
  static constexpr std::array<std::pair<std::string_view, Convention>, 2> values = {
      {{"paper", Convention::kPaper}, {"harness", Convention::kHarness}}};
};

// How the paper compares candidates.
enum class PaperScore {
  kSum,            // log P of the candidate's tokens
  kMean,           // the same per token
  kSuffix,         // log P of the tokens that all candidates end with
  kUnconditional,  // log P(candidate | context) - log P(candidate | calibration)
  kAverageOption,  // log P(candidate | context) - mean over the item's options o of log P(candidate | context with o)
};
template <>
struct EnumNames<PaperScore> {
  static constexpr std::array<std::pair<std::string_view, PaperScore>, 5> values = {
      {{"sum", PaperScore::kSum},
       {"mean", PaperScore::kMean},
       {"suffix", PaperScore::kSuffix},
       {"unconditional", PaperScore::kUnconditional},
       {"average_option", PaperScore::kAverageOption}}};
};

enum class Metric {
  kAcc,         // the candidate of the largest log P (harness), or of the largest score (paper), is a right one
  kAccNorm,     // ... log P per character (code point) of the candidate's text
  kAccBytes,    // ... log P per byte
  kGreedy,      // every token of the target is the most probable one
  kPerplexity,  // exp of minus the mean log P of the targets
  kMacroF1,     // mean over the candidates' positions of the F1 of choosing that position
  kSquadF1,     // words shared by the chosen candidate and the best right answer, SQuAD's normalisation
  kSquadEm,     // the chosen candidate equals a right answer under that normalisation
};
template <>
struct EnumNames<Metric> {
  static constexpr std::array<std::pair<std::string_view, Metric>, 8> values = {
      {{"acc", Metric::kAcc},
       {"acc_norm", Metric::kAccNorm},
       {"acc_bytes", Metric::kAccBytes},
       {"greedy", Metric::kGreedy},
       {"perplexity", Metric::kPerplexity},
       {"macro_f1", Metric::kMacroF1},
       {"squad_f1", Metric::kSquadF1},
       {"squad_em", Metric::kSquadEm}}};
};

// Files of one format that hold a task's splits. A split is found in the first source whose file is there.
struct TaskSource {
  RecordOptions options;
  std::optional<Template> id;  // as in TaskFile, for files of which others of the task have none
  struct File {
    std::string split, name, labels;  // `name` may contain one *; `labels` is a file of one label a line, or empty
  };
  std::vector<File> files;
};

// One convention's prompts.
struct PromptSpec {
  std::vector<Template> contexts;       // one, or one per choice
  std::vector<Template> choices;        // one that gives a list, or one per choice; with several contexts one for all
  std::string delimiter = " ";          // between context and choice
  std::optional<Template> label;        // the right answer
  bool several = false;                 // `label` is a list of right answers
  std::vector<Template> labels;         // what `label` is for choice 0, 1, ...; one template may give the list
  std::vector<Template> answers;        // texts of right answers (squad_f1, squad_em)
  std::vector<Template> calibration;    // unconditional: the context; average_option: the context with {option}
  PaperScore score = PaperScore::kSum;  // paper
  std::vector<Metric> metrics = {Metric::kAcc};
};

struct TaskFile {
  std::string where;     // path, or "built-in NAME.toml"
  std::string replaces;  // the built-in one of the same name, if there is one
  std::string name, about, citation, published;
  std::string folder;           // below the data folder
  std::string evaluate, shots;  // splits; `shots` may be empty
  std::vector<TaskSource> sources;
  std::optional<Template> id;     // two records with one id are an error
  std::optional<Template> group;  // results also for each value, and the task's value is the mean over values
  std::optional<Template> skip;   // records for which this is one of skip_values are left out and counted
  std::vector<std::string> skip_values;
  std::vector<std::pair<std::string, Template>> fields;  // put into each record, in order, before anything else
  std::optional<PromptSpec> paper, harness;

  const std::optional<PromptSpec>& prompts(Convention convention) const {
    return convention == Convention::kPaper ? paper : harness;
  }
};

// Throws kUsage "WHERE:LINE: key: expected ..., got ..." for an unknown key, a missing one, a wrong type or value, and
// for a template that does not parse.
TaskFile parse_task_file(std::string_view text, const std::string& where);

// The built-in tasks and those in the folders (every *.toml; a task there replaces a built-in one of the same name), in
// order of name. Throws kUsage for a broken file and for two files in the folders with one name.
std::vector<TaskFile> load_tasks(const std::vector<std::filesystem::path>& folders = {});

// The named ones, in order; "all" alone means every one. Throws kUsage naming the nearest for an unknown name, and for
// a name twice.
std::vector<TaskFile> select_tasks(std::vector<TaskFile> tasks, const std::vector<std::string>& names);

}  // namespace troupe
