// troupe eval bias: StereoSet and CrowS-Pairs.
#include <CLI/CLI.hpp>
#include <cmath>
#include <filesystem>
#include <memory>
#include <optional>

#include "base/error.h"
#include "base/log.h"
#include "cli/choice.h"
#include "cli/command.h"
#include "cli/device.h"
#include "cli/eval.h"
#include "cli/eval_model.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/ranks.h"
#include "eval/bias/bias.h"
#include "eval/tasks/records.h"
#include "io/json_fields.h"

namespace troupe::cli {
namespace {

namespace fs = std::filesystem;

struct BiasFlags {
  EvalFlags model;
  std::string data_dir;
  std::vector<std::string> sets;
  bool json = false;
};

void run(const BiasFlags& flags) {
  require_one_process("eval bias");
  // Everything is read and checked before the first sentence is scored.
  const fs::path data_dir = flags.data_dir;
  const auto wants = [&](const std::string& name) {
    if (std::find(flags.sets.begin(), flags.sets.end(), name) != flags.sets.end()) return true;
    if (!flags.sets.empty()) return false;
    const bool there = is_there(data_dir / name);
    if (!there) log::warning("{}: not evaluated: no folder {} in {}", name, name, flags.data_dir);
    return there;
  };
  std::optional<StereoSet> stereoset;
  std::optional<CrowsPairs> crows_pairs;
  if (wants("stereoset")) stereoset = load_stereoset(data_dir);
  if (wants("crows_pairs")) crows_pairs = load_crows_pairs(data_dir);
  if (!stereoset && !crows_pairs)
    fail(ErrorCode::kData, "{}: expected a folder stereoset or crows_pairs, got neither", flags.data_dir);

  choose_device_for(read_eval_config(flags.model));
  EvalModel loaded = load_eval_model(flags.model);
  std::vector<std::vector<std::string>> rows = {{"set", "category", "convention", "metric", "value", "± 95 %", "n"}};
  const auto run_set = [&](const std::string& name, const auto& evaluate, const auto& set) {
    Progress progress(name, 1.0);
    const BiasReport report = evaluate(*loaded.model, *loaded.tokenizer, set, loaded.requests,
                                       [&](double share) { progress.update(share, ""); });
    progress.clear();
    if (report.requests.truncated > 0)
      log::warning("{}: {} of {} sequences were longer than the context and lost tokens on their left", name,
                   report.requests.truncated, report.requests.requests);
    for (const BiasFigure& figure : report.figures) {
      const auto text = [](double value) { return number_text(value, 2); };
      if (flags.json) {
        print_json(json_of(BiasLine{.set = figure.set,
                                    .category = figure.category,
                                    .metric = figure.metric,
                                    .value = figure.value,
                                    .n = figure.n,
                                    .standard_error = figure.standard_error,
                                    .convention = figure.convention,
                                    .data_checksum = report.data_checksum,
                                    .facts = loaded.facts}));
      } else {
        rows.push_back({figure.set, figure.category, figure.convention, figure.metric, text(figure.value),
                        text(kNormal95 * figure.standard_error), grouped(figure.n)});
      }
    }
  };
  if (stereoset) run_set("stereoset", evaluate_stereoset, *stereoset);
  if (crows_pairs) run_set("crows_pairs", evaluate_crows_pairs, *crows_pairs);
  if (flags.json) return;
  print_table(rows);
  print("± 95 %: half the 95 % interval, over terms (stereoset) or pairs (crows_pairs).\n");
}

}  // namespace

void add_eval_bias(CLI::App& eval) {
  const auto flags = std::make_shared<BiasFlags>();
  CLI::App* const command = eval.add_subcommand("bias", "Stereotypes: StereoSet and CrowS-Pairs");
  add_eval_flags(*command, flags->model);
  command->add_option("--data-dir", flags->data_dir, "folder with stereoset/ and crows_pairs/")
      ->envname("TROUPE_TASK_DATA")
      ->type_name("DIR")
      ->required();
  limit_to(command->add_option("--sets", flags->sets, "separated by commas (default: those that are there)"),
           {"stereoset", "crows_pairs"})
      ->delimiter(',');
  command->add_flag("--json", flags->json, "one JSON object per figure");
  command->callback([flags] { run(*flags); });
}

}  // namespace troupe::cli
