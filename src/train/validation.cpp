#include "train/validation.h"

#include <nlohmann/json.hpp>

#include "eval/perplexity.h"

namespace troupe {

std::vector<nlohmann::ordered_json> Validation::run(LanguageModel& model, int64_t step,
                                                    const std::function<void()>& between) const {
  std::vector<nlohmann::ordered_json> lines;
  for (const EvalText& text : sets_) {
    const PerplexityResult result = evaluate_perplexity(model, text, {}, [&](int64_t, int64_t) { between(); });
    lines.push_back({{"schema", "troupe.valid/1"},
                     {"step", step},
                     {"tokens", result.sum.tokens},
                     {"data", text.name},
                     {"nll", result.nll()},
                     {"ppl", result.perplexity()},
                     {"bits_per_byte", result.bits_per_byte()},
                     {"drop_rate", result.sum.drop_rate()}});
  }
  return lines;
}

}  // namespace troupe
