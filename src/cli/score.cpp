// troupe score: log-probabilities of given targets, tensors in and tensors out.
#include <CLI/CLI.hpp>
#include <memory>

#include "base/log.h"
#include "cli/adapter_flag.h"
#include "cli/choice.h"
#include "cli/command.h"
#include "cli/device.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/ranks.h"
#include "eval/capacity.h"
#include "eval/result_lines.h"
#include "eval/score_file.h"
#include "io/json_fields.h"
#include "model/model_directory.h"

namespace troupe::cli {
namespace {

struct ScoreFlags {
  std::string model, adapter, tokens, out, capacity = "dropless";
  PrecisionChoice precision = PrecisionChoice::kAuto;
  bool greedy = false, json = false;
};

void run(const ScoreFlags& flags) {
  require_one_process("score");
  const CapacityRule capacity = parse_capacity(flags.capacity);
  const std::filesystem::path folder = find_model(flags.model);
  ModelConfig config = read_model_config(folder);
  choose_device_for(config);
  const Precision precision = precision_of(flags.precision);
  config.moe.group_sequences = 0;  // the whole file is one routing group
  LanguageModel model(config, precision, {.inference = true});
  load_parameters(folder, model, flags.adapter);

  Progress progress("score");
  const LossSum sum =
      score_file(model, flags.tokens, flags.out, capacity, flags.greedy, [&](int64_t done, int64_t total) {
        progress.update(static_cast<double>(done) / static_cast<double>(total),
                        fmt::format("{}/{} sequences", done, total));
      });
  progress.clear();
  ScoreLine line{.tokens = sum.tokens,
                 .nll_sum = sum.nll,
                 .drop_rate = sum.drop_rate(),
                 .capacity = to_string(capacity),
                 .precision = to_string(precision),
                 .model = flags.model,
                 .adapter = flags.adapter,
                 .out = flags.out,
                 .provenance = provenance(to_string(precision))};
  line.provenance->date.clear();  // the same scores give the same bytes
  print_json(json_of(line));
}

}  // namespace

void add_score(CLI::App& app) {
  const auto flags = std::make_shared<ScoreFlags>();
  CLI::App* const command = app.add_subcommand("score", "Log-probabilities of given targets, tensors in and out");
  command->add_option("--model", flags->model, "model directory, or a run's folder")->required()->type_name("MODEL");
  add_adapter_flag(*command, flags->adapter);
  command->add_option("--tokens", flags->tokens, "safetensors file with src and tgt, int64 [B, S]; tgt < 0: not scored")
      ->required()
      ->type_name("FILE");
  command->add_option("--out", flags->out, "safetensors file to write: logprobs, float32 [B, S], natural log")
      ->required()
      ->type_name("FILE");
  add_choice(*command, "--precision", flags->precision, "auto: bf16 on a GPU, and if the processor multiplies it");
  command
      ->add_option(
      "--capacity", flags->capacity,
      "places per expert: dropless, train, configured or a fraction of the tokens; [B, S] is one group")
      ->type_name("RULE");
  command->add_flag("--greedy", flags->greedy,
                    "also write greedy, uint8 [B, S]: 1 where the target is the most probable token");
  command->add_flag("--json", flags->json, "no effect: the result is one JSON object anyway");
  command->callback([flags] { run(*flags); });
}

}  // namespace troupe::cli
