#include "train/validation.h"

#include "eval/perplexity.h"

namespace troupe {

std::vector<ValidLine> Validation::run(LanguageModel& model, int64_t step, const std::function<void()>& between) const {
  std::vector<ValidLine> lines;
  for (const EvalText& text : sets_) {
    const PerplexityResult result = evaluate_perplexity(model, text, {}, [&](int64_t, int64_t) { between(); });
    lines.push_back({.step = step,
                     .tokens = result.sum.tokens,
                     .data = text.name,
                     .nll = result.nll(),
                     .ppl = result.perplexity(),
                     .bits_per_byte = result.bits_per_byte(),
                     .drop_rate = result.sum.drop_rate(),
                     .documents = result.document_scores()});
  }
  return lines;
}

}  // namespace troupe
