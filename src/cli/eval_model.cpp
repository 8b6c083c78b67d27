#include "cli/eval_model.h"

#include <CLI/CLI.hpp>

#include "base/error.h"
#include "base/log.h"
#include "cli/adapter_flag.h"
#include "cli/choice.h"
#include "cli/validators.h"
#include "eval/capacity.h"
#include "model/model_directory.h"
#include "train/model_facts.h"

namespace troupe::cli {

void add_eval_flags(CLI::App& command, EvalFlags& flags) {
  command.add_option("--model", flags.model, "model directory, or a run's folder")->type_name("MODEL");
  add_adapter_flag(command, flags.adapter);
  add_tokenizer_flags(command, flags.tokenizer);
  add_choice(command, "--precision", flags.precision, "auto: bf16 on a GPU, and if the processor multiplies it");
  command
      .add_option("--capacity", flags.capacity,
                     "places per expert: dropless, train, configured or a fraction of a batch's tokens; anything but "
                     "dropless makes scores depend on the batch")
      ->type_name("RULE");
  command.add_option("--context", flags.context, "most tokens of a sequence (default: the model's context)")
      ->transform(positive_count());
  command.add_option("--batch-tokens", flags.batch_tokens, "tokens that go through the model together")
      ->transform(positive_count());
  command
      .add_option("--journal", flags.journal,
                     "file of answers: those there are not computed again, new ones are added, so that an interrupted "
                     "evaluation goes on")
      ->type_name("FILE");
  add_train_tokens_flag(command, flags.train_tokens);
}

void add_train_tokens_flag(CLI::App& command, double& train_tokens) {
  command
      .add_option("--train-tokens", train_tokens,
                  "tokens the model was trained on, for results (default: what its folder says)")
      ->transform(positive_number())
      ->default_str("");
}

ModelConfig read_eval_config(const EvalFlags& flags) {
  if (flags.model.empty()) fail(ErrorCode::kUsage, "--model: expected a model directory, got none");
  return read_model_config(find_model(flags.model));
}

EvalModel load_eval_model(const EvalFlags& flags, Communicator* ranks) {
  EvalModel loaded;
  loaded.requests.capacity = parse_capacity(flags.capacity);
  loaded.requests.context = flags.context;
  loaded.requests.ranks = ranks;
  loaded.requests.batch_tokens = flags.batch_tokens;
  const std::filesystem::path folder = find_model(flags.model);
  loaded.model = load_model(folder, precision_of(flags.precision), flags.adapter);
  const ModelConfig& config = loaded.model->config();
  ModelTokenizer tokenizer = load_model_tokenizer(flags.tokenizer, folder, config);
  loaded.tokenizer = std::make_unique<Tokenizer>(std::move(tokenizer.tokenizer));
  loaded.facts = {.capacity = to_string(loaded.requests.capacity),
                  .precision = to_string(loaded.model->precision()),
                  .tokenizer = std::string(name_of_enum(tokenizer.match)),
                  .model = model_facts(flags.model, config, flags.train_tokens, flags.adapter)};
  loaded.facts.model.provenance->precision = loaded.facts.precision;
  if (config.positions == Positions::kLearned && flags.context > config.context)
    fail(ErrorCode::kUsage, "--context: expected at most {} (the model has learned positions for no more), got {}",
         config.context, flags.context);
  if (!flags.journal.empty() && (!ranks || ranks->rank() == 0)) {
    loaded.journal = std::make_unique<Journal>(
        flags.journal,
        fmt::format("{} {} {} {} {}", loaded.facts.model.model_checksum,
                    loaded.facts.precision, loaded.facts.capacity, flags.context,
                    loaded.requests.capacity.kind == CapacityRule::kDropless ? 0 : flags.batch_tokens));
    loaded.requests.journal = loaded.journal.get();
    if (loaded.journal->size() > 0) log::info("{}: {} answers from before", flags.journal, loaded.journal->size());
  }
  return loaded;
}

}  // namespace troupe::cli
