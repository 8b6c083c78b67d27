#include "train/validation.h"

#include <nlohmann/json.hpp>

#include "eval/perplexity.h"

namespace troupe {

void Validation::add(const std::string& name, const TokenDataset& dataset, int64_t max_tokens) {
  const TokenDataset::Prefix prefix = dataset.prefix(max_tokens);
  EvalText text;
  text.name = name;
  text.ids.resize(static_cast<size_t>(prefix.tokens));
  dataset.read(0, prefix.tokens, text.ids.data());
  int64_t first_token = 0;
  for (const TokenShard& shard : dataset.shards()) {
    for (int64_t i = 0; i < shard.documents() && text.documents() < prefix.documents; ++i) {
      text.begin.push_back(first_token + shard.document_end(i));
      text.document_bytes.push_back(shard.document_text_bytes(i));
    }
    first_token += shard.tokens();
  }
  sets_.push_back(std::move(text));
}

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
