// Perplexity on the validation sets while a run goes on.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "eval/eval_text.h"
#include "model/language_model.h"

namespace troupe {

class Validation {
 public:
  void add(EvalText set) { sets_.push_back(std::move(set)); }

  // One line a set: {"schema":"troupe.valid/1", "step", "tokens" (scored), "data", "nll", "ppl", "bits_per_byte",
  // "drop_rate"}. Blocks of the model's context, dropless; nll in nats per token. `between` is called between batches
  // and may throw to stop.
  std::vector<nlohmann::ordered_json> run(LanguageModel& model, int64_t step,
                                          const std::function<void()>& between) const;

  bool empty() const { return sets_.empty(); }

 private:
  std::vector<EvalText> sets_;
};

}  // namespace troupe
