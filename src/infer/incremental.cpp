#include "infer/incremental.h"

#include <algorithm>

#include "base/error.h"
#include "model/walk.h"
#include "ops/attention.h"
#include "ops/loss.h"
#include "ops/route/policy.h"
#include "ops/transfer.h"

namespace troupe {

template <class P>
void IncrementalDecoder<P>::attend(const Pass<P>& pass, int64_t layer, std::span<const NewTokens<P>> sequences,
                                   Matrix<const real> x, typename AttentionBlock<P>::Activations& acts,
                                   Matrix<real> out) const {
  const AttentionBlock<P>& block = weights_.layers[static_cast<size_t>(layer)].attention;
  const auto [q_THC, k_TGC, v_TGC] = block.project(pass, x, acts);

  std::vector<KvSegment<operand>> segments;
  std::vector<DecodeSequence<P>> decode;
  std::vector<size_t> first_segments;  // of each sequence
  int64_t row = 0;
  for (const NewTokens<P>& sequence : sequences) {
    const auto count = static_cast<int64_t>(sequence.tokens.size());
    sequence.past->write(layer, k_TGC.rows_from(row, count), v_TGC.rows_from(row, count));
    first_segments.push_back(segments.size());
    sequence.past->append_segments(layer, sequence.past->length() + count, segments);
    decode.push_back({q_THC.rows_from(row, count), {}, acts.ctx_THC.rows_from(row, count)});
    row += count;
  }
  first_segments.push_back(segments.size());
  for (size_t i = 0; i < decode.size(); ++i)
    decode[i].past = std::span(segments).subspan(first_segments[i], first_segments[i + 1] - first_segments[i]);
  troupe::run(AttentionDecode<P>{.heads = block.heads(), .sequences = decode});
  block.finish(pass, x, acts, out);
}

template <class P>
IncrementalDecoder<P>::IncrementalDecoder(const Decoder<P>& decoder)
    : weights_(decoder.weights()),
      work_(weights_.params->memory()),
      values_room_(weights_.params->memory()),
      targets_room_(weights_.params->memory()),
      argmax_room_(weights_.params->memory()) {
  if (weights_.config.num_moe_layers() > 0)
    require_causal(weights_.config.moe, "generation and shared prefixes");
}

template <class P>
Matrix<const typename P::operand> IncrementalDecoder<P>::run(std::span<const NewTokens<P>> sequences) {
  const ModelConfig& config = weights_.config;
  std::vector<int32_t> tokens, positions;
  int64_t last_position = 0;
  for (const NewTokens<P>& sequence : sequences) {
    const int64_t past = sequence.past->length();
    for (size_t i = 0; i < sequence.tokens.size(); ++i) {
      const int32_t id = sequence.tokens[i];
      if (id < 0 || id >= config.vocab_size)
        fail(ErrorCode::kData, "token {}: expected an id in [0, {}), got {}", i, config.vocab_size, id);
      tokens.push_back(id);
      positions.push_back(static_cast<int32_t>(kFirstPosition + past + static_cast<int64_t>(i)));
      last_position = std::max<int64_t>(last_position, positions.back());
    }
  }
  if (config.positions == Positions::kLearned && last_position >= config.context + kFirstPosition)
    fail(ErrorCode::kUsage, "sequence: expected at most {} tokens (model.context, learned positions), got {}",
         config.context, last_position - kFirstPosition + 1);

  for (const NewTokens<P>& sequence : sequences) sequence.past->reserve(static_cast<int64_t>(sequence.tokens.size()));

  const auto T = static_cast<int64_t>(tokens.size());
  work_.plan(config, 1, T, Keep::kNothing);
  RunMode mode;
  mode.capacity = {CapacityRule::kDropless};
  Pass<P> pass{.shape = {1, T, {}}, .mode = mode, .scratch = work_.scratch};
  set_positions(weights_, work_, last_position + 1, pass);
  walk(weights_, {tokens, positions, last_position + 1}, pass, work_,
       [&](int64_t layer, Matrix<const real> x, auto& acts, Matrix<real> out) {
         attend(pass, layer, sequences, x, acts, out);
       });
  for (const NewTokens<P>& sequence : sequences) sequence.past->advance(static_cast<int64_t>(sequence.tokens.size()));
  return work_.final_norm.y_TD;
}

template <class P>
void IncrementalDecoder<P>::score(Matrix<const operand> hidden, std::span<const int32_t> targets, std::span<real> nll,
                                  std::span<int32_t> argmax) {
  const std::span<const int32_t> placed = to_device(targets, targets_room_);
  from_device(nll, values_room_, [&](std::span<real> nll_T) {
    from_device(argmax, argmax_room_, [&](std::span<int32_t> argmax_T) {
      troupe::run(OutputLoss<P>{weights_.output.bank(), hidden, placed, nll_T, argmax_T, weights_.config.logit_divisor,
                                weights_.config.logit_cap});
    });
  });
}

template <class P>
void IncrementalDecoder<P>::logits(Matrix<const operand> hidden, std::span<real> out) {
  const auto factor = static_cast<float>(1.0 / weights_.config.logit_divisor);
  from_device(out, values_room_, [&](std::span<real> values) {
    const Matrix<real> logits(values.data(), hidden.rows, weights_.config.vocab_size);
    weights_.output.forward(hidden, {}, {.out_real = logits, .dropout = {.multiplier = factor}});
    if (weights_.config.logit_cap > 0.0) troupe::run(SoftCap<real>{weights_.config.logit_cap, logits});
  });
}

template class IncrementalDecoder<F64>;
template class IncrementalDecoder<F32>;
template class IncrementalDecoder<Bf16>;

}  // namespace troupe
