#include "infer/generator.h"

#include <algorithm>

#include "base/clock.h"
#include "base/error.h"
#include "infer/incremental.h"

namespace troupe {
namespace {

std::vector<int32_t> start_of(std::span<const int32_t> prompt, const ModelConfig& config) {
  if (!prompt.empty()) return {prompt.begin(), prompt.end()};
  if (config.eos_id < 0)
    fail(ErrorCode::kUsage, "prompt: expected at least one token (the model has no end-of-text token to start from)");
  return {static_cast<int32_t>(config.eos_id)};
}

}  // namespace

struct Generator::Impl {
  virtual ~Impl() = default;
  virtual Generation run(const GenerateOptions& options, const std::function<bool(int32_t)>& on_token) = 0;
};

namespace {

template <class P>
class GeneratorOf final : public Generator::Impl {
 public:
  GeneratorOf(Decoder<P>& decoder, std::span<const int32_t> prompt)
      : config_(decoder.config()),
        prompt_(start_of(prompt, config_)),
        incremental_(decoder),
        pool_(config_, decoder.weights().params->memory()),
        past_(pool_),
        prompt_logits_(config_.vocab_size),
        logits_(config_.vocab_size) {}

  Generation run(const GenerateOptions& options, const std::function<bool(int32_t)>& on_token) override {
    Generation result;
    result.prompt_tokens = static_cast<int64_t>(prompt_.size());
    if (options.max_tokens < 1) return result;
    prefill();
    result.prefill_seconds = prefill_seconds_;
    past_.truncate(result.prompt_tokens);  // what earlier samples appended
    std::copy_n(prompt_logits_.data(), config_.vocab_size, logits_.data());

    const Clock::time_point begin = Clock::now();
    const std::vector<int32_t> allowed = allowed_ids(options);
    RepetitionPenalty penalty(options.sampling.repetition_penalty, config_.vocab_size);
    penalty.add(prompt_);
    const auto draw = [&] {
      penalty.apply(logits_.span());
      return sample(logits_.span(), options.sampling, result.tokens.size(), allowed);
    };
    while (true) {
      const int32_t token = draw();
      if (options.stop_at_eos && token == config_.eos_id) {
        result.finish = FinishReason::kEndOfText;
        break;
      }
      result.tokens.push_back(token);
      if (on_token && !on_token(token)) {
        result.finish = FinishReason::kStop;
        break;
      }
      const auto count = static_cast<int64_t>(result.tokens.size());
      const bool out_of_positions =
          config_.positions == Positions::kLearned && result.prompt_tokens + count > config_.context;
      if (count >= options.max_tokens || out_of_positions) break;
      penalty.add({&token, 1});
      step({&token, 1}, logits_);
    }
    result.decode_seconds = seconds_since(begin);
    return result;
  }

 private:
  // The ids that may come; empty: all.
  std::vector<int32_t> allowed_ids(const GenerateOptions& options) const {
    std::vector<int32_t> ids = options.allowed;
    std::erase_if(ids, [&](int32_t id) { return id >= config_.vocab_size; });
    const auto eos = static_cast<int32_t>(config_.eos_id);
    if (!ids.empty() && eos >= 0 && std::find(ids.begin(), ids.end(), eos) == ids.end()) ids.push_back(eos);
    return ids;
  }

  void prefill() {
    if (past_.length() > 0) return;
    const Clock::time_point begin = Clock::now();
    step(prompt_, prompt_logits_);
    prefill_seconds_ = seconds_since(begin);
  }

  // The logits after the last of these tokens, which join the past.
  void step(std::span<const int32_t> tokens, Buffer<float>& logits) {
    const NewTokens<P> request{tokens, &past_};
    const auto hidden = incremental_.run({&request, 1});
    incremental_.logits(hidden.rows_from(hidden.rows - 1, 1), logits.span());
  }

  const ModelConfig& config_;
  std::vector<int32_t> prompt_;
  IncrementalDecoder<P> incremental_;
  KvPool<P> pool_;
  KvSequence<P> past_;  // of the prompt, and after it of the last sample
  Buffer<float> prompt_logits_, logits_;
  double prefill_seconds_ = 0.0;
};

template <class P>
std::unique_ptr<Generator::Impl> generator_of(Decoder<P>& decoder, std::span<const int32_t> prompt) {
  return std::make_unique<GeneratorOf<P>>(decoder, prompt);
}

}  // namespace

Generator::Generator(LanguageModel& model, std::span<const int32_t> prompt)
    : impl_(model.visit([&](auto& decoder) { return generator_of(decoder, prompt); })) {}
Generator::~Generator() = default;

Generation Generator::run(const GenerateOptions& options, const std::function<bool(int32_t)>& on_token) {
  return impl_->run(options, on_token);
}

Generation generate(LanguageModel& model, std::span<const int32_t> prompt, const GenerateOptions& options,
                    const std::function<bool(int32_t)>& on_token) {
  return Generator(model, prompt).run(options, on_token);
}

}  // namespace troupe
