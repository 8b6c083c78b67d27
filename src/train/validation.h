// Perplexity on the validation sets while a run goes on.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "eval/eval_text.h"
#include "model/language_model.h"
#include "train/metrics.h"

namespace troupe {

class Validation {
 public:
  void add(EvalText set) { sets_.push_back(std::move(set)); }

  // One line a set. Blocks of the model's context, dropless. `between` is called between batches and may throw to stop.
  std::vector<ValidLine> run(LanguageModel& model, int64_t step, const std::function<void()>& between) const;

  bool empty() const { return sets_.empty(); }

 private:
  std::vector<EvalText> sets_;
};

}  // namespace troupe
