#include "cli/eval_model.h"

#include <CLI/CLI.hpp>

#include "base/error.h"
#include "base/log.h"
#include "eval/capacity.h"
#include "model/model_directory.h"

namespace troupe::cli {

void add_eval_flags(CLI::App& command, EvalFlags& flags) {
  command.add_option("--model", flags.model, "model directory, or a run's folder");
  command.add_option("--tokenizer", flags.tokenizer, "tokenizer.json or its folder (default: the model directory)");
  command.add_option("--precision", flags.precision, "auto, fp32 or bf16");
  command.add_option("--capacity", flags.capacity,
                     "places per expert: dropless, train, configured or a fraction of a batch's tokens; anything but "
                     "dropless makes scores depend on the batch");
  command.add_option("--context", flags.context, "most tokens of a sequence (default: the model's context)")
      ->check(CLI::PositiveNumber);
  command.add_option("--batch-tokens", flags.batch_tokens, "tokens that go through the model together")
      ->check(CLI::PositiveNumber);
  command.add_option("--journal", flags.journal,
                     "file of answers: those there are not computed again, new ones are added, so that an interrupted "
                     "evaluation goes on");
}

EvalModel load_eval_model(const EvalFlags& flags) {
  if (flags.model.empty()) fail(ErrorCode::kUsage, "--model: expected a model directory, got none");
  EvalModel loaded{.name = flags.model};
  loaded.requests.capacity = parse_capacity(flags.capacity);
  loaded.requests.context = flags.context;
  loaded.requests.batch_tokens = flags.batch_tokens;
  const std::filesystem::path folder = find_model(flags.model);
  loaded.model = load_model(folder, parse_precision(flags.precision));
  const ModelConfig& config = loaded.model->config();
  const std::string tokenizer = flags.tokenizer.empty() ? folder.string() : flags.tokenizer;
  loaded.tokenizer = std::make_unique<Tokenizer>(Tokenizer::load(tokenizer));
  if (loaded.tokenizer->vocab_size() > config.vocab_size)
    fail(ErrorCode::kUsage, "--tokenizer: expected at most {} ids (the model's vocabulary), got {}", config.vocab_size,
         loaded.tokenizer->vocab_size());
  if (config.positions == Positions::kLearned && flags.context > config.context)
    fail(ErrorCode::kUsage, "--context: expected at most {} (the model has learned positions for no more), got {}",
         config.context, flags.context);
  if (!flags.journal.empty()) {
    loaded.journal = std::make_unique<Journal>(
        flags.journal, fmt::format("{} {} {} {} {}", model_checksum(folder), to_string(loaded.model->precision()),
                                   to_string(loaded.requests.capacity), flags.context,
                                   loaded.requests.capacity.kind == CapacityRule::kDropless ? 0 : flags.batch_tokens));
    loaded.requests.journal = loaded.journal.get();
    if (loaded.journal->size() > 0) log::info("{}: {} answers from before", flags.journal, loaded.journal->size());
  }
  return loaded;
}

}  // namespace troupe::cli
