// What the evaluation commands have in common: the model, its tokenizer, and how requests are run.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "data/tokenizer/tokenizer.h"
#include "eval/requests.h"
#include "model/language_model.h"

namespace CLI {
class App;
}

namespace troupe::cli {

struct EvalFlags {
  std::string model, tokenizer, precision = "auto", capacity = "dropless", journal;
  int64_t context = 0, batch_tokens = 4096;
};

// Adds --model, --tokenizer, --precision, --capacity, --context, --batch-tokens and --journal.
void add_eval_flags(CLI::App& command, EvalFlags& flags);

struct EvalModel {
  std::unique_ptr<LanguageModel> model;
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<Journal> journal;  // null without --journal
  RequestOptions requests;
  std::string name;  // as given
};

// Throws kUsage if the tokenizer has more ids than the model.
EvalModel load_eval_model(const EvalFlags& flags);

}  // namespace troupe::cli
