// What the evaluation commands have in common: the model, its tokenizer, and how requests are run.
#pragma once

#include <memory>
#include <string>

#include "cli/tokenizer_flags.h"
#include "eval/requests.h"
#include "eval/result_lines.h"
#include "model/language_model.h"

namespace CLI {
class App;
}

namespace troupe::cli {

struct EvalFlags {
  TokenizerChoice tokenizer;
  std::string model, adapter, capacity = "dropless", journal;
  PrecisionChoice precision = PrecisionChoice::kAuto;
  int64_t context = 0, batch_tokens = 4096;
  double train_tokens = 0.0;
};

// Adds --model, --adapter, --tokenizer, --any-tokenizer, --precision, --capacity, --context, --batch-tokens, --journal
// and --train-tokens.
void add_eval_flags(CLI::App& command, EvalFlags& flags);
void add_train_tokens_flag(CLI::App& command, double& train_tokens);

struct EvalModel {
  std::unique_ptr<LanguageModel> model;
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<Journal> journal;  // null without --journal
  RequestOptions requests;
  EvalFacts facts;
};

// Of the model; before load_eval_model() the caller chooses a device for it. Throws kUsage without --model.
ModelConfig read_eval_config(const EvalFlags& flags);

// Throws as load_model_tokenizer() does, and kUsage for flags that the model does not allow. Of several ranks all have the
// model, and the first one the journal.
EvalModel load_eval_model(const EvalFlags& flags, Communicator* ranks = nullptr);

}  // namespace troupe::cli
