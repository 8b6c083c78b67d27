#include "infer/generator.h"

#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "infer/incremental.h"

namespace troupe {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// The ids that may come; empty: all.
std::vector<int32_t> allowed_ids(const GenerateOptions& options, const ModelConfig& config) {
  std::vector<int32_t> ids = options.allowed;
  std::erase_if(ids, [&](int32_t id) { return id >= config.vocab_size; });
  const auto eos = static_cast<int32_t>(config.eos_id);
  if (!ids.empty() && eos >= 0 && std::find(ids.begin(), ids.end(), eos) == ids.end()) ids.push_back(eos);
  return ids;
}

template <class P>
Generation generate_with(Decoder<P>& decoder, std::span<const int32_t> prompt, const GenerateOptions& options,
                         const std::function<bool(int32_t)>& on_token) {
  const ModelConfig& config = decoder.config();
  std::vector<int32_t> start(prompt.begin(), prompt.end());
  if (start.empty()) {
    if (config.eos_id < 0)
      fail(ErrorCode::kUsage, "prompt: expected at least one token (the model has no end-of-text token to start from)");
    start.push_back(static_cast<int32_t>(config.eos_id));
  }
  Generation result;
  result.prompt_tokens = static_cast<int64_t>(start.size());
  IncrementalDecoder<P> incremental(decoder);
  KvCache<P> cache(config);
  Buffer<float> logits(config.vocab_size);
  const std::vector<int32_t> allowed = allowed_ids(options, config);
  const auto next = [&](std::span<const int32_t> tokens, uint64_t index) {
    const NewTokens<P> request{tokens, nullptr, &cache};
    const auto hidden = incremental.run({&request, 1});
    incremental.logits(hidden.rows_from(hidden.rows - 1, 1), {logits.data(), 1, config.vocab_size});
    return sample(logits.span(), options.sampling, index, allowed);
  };

  const Clock::time_point begin = Clock::now();
  if (options.max_tokens < 1) return result;
  int32_t token = next(start, 0);
  result.prefill_seconds = seconds_since(begin);
  const Clock::time_point decode_begin = Clock::now();
  while (true) {
    if (options.stop_at_eos && token == config.eos_id) {
      result.ended = true;
      break;
    }
    result.tokens.push_back(token);
    if (on_token && !on_token(token)) break;
    const auto count = static_cast<int64_t>(result.tokens.size());
    const bool out_of_positions =
        config.positions == Positions::kLearned && result.prompt_tokens + count > config.context;
    if (count >= options.max_tokens || out_of_positions) break;
    token = next({&token, 1}, static_cast<uint64_t>(count));
  }
  result.decode_seconds = seconds_since(decode_begin);
  return result;
}

}  // namespace

Generation generate(LanguageModel& model, std::span<const int32_t> prompt, const GenerateOptions& options,
                    const std::function<bool(int32_t)>& on_token) {
  return model.visit([&](auto& decoder) { return generate_with(decoder, prompt, options, on_token); });
}

}  // namespace troupe
