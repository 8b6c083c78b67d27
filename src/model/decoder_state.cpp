// How a batch is read, how it is parted among ranks, and how what they report of it comes together.
#include "model/decoder_state.h"

#include <algorithm>

#include "base/error.h"
#include "ops/transfer.h"

namespace troupe {

// Ids are checked here, once; positions count real tokens (fairseq utils.py:239-249).
template <class P>
void DecoderState<P>::read_batch(const Batch& batch, bool shared) {
  const int64_t T = batch.tokens();
  if (batch.B < 1 || batch.S < 1 || static_cast<int64_t>(batch.src.size()) != T ||
      static_cast<int64_t>(batch.tgt.size()) != T)
    fail(ErrorCode::kUsage, "batch: expected B, S >= 1 and B*S ids in src and tgt, got B {}, S {}, {} and {} ids",
         batch.B, batch.S, batch.src.size(), batch.tgt.size());
  if (weights.config.positions == Positions::kLearned && batch.S > weights.config.context)
    fail(ErrorCode::kUsage, "batch: expected at most {} positions (model.context, learned), got {}",
         weights.config.context, batch.S);
  if (!batch.begins_text.empty() && static_cast<int64_t>(batch.begins_text.size()) != T)
    fail(ErrorCode::kUsage, "batch: expected none or {} marks of texts, got {}", T, batch.begins_text.size());
  const auto begins_text = [&](int64_t t) {
    return batch.texts_apart &&
           (batch.begins_text.empty() ? batch.src[t] == weights.config.eos_id : batch.begins_text[t] != 0);
  };
  positions_T.resize(T), targets_T.resize(T);
  bool has_pad = false;
  for (int64_t b = 0; b < batch.B; ++b) {
    int32_t position = kFirstPosition;
    for (int64_t t = b * batch.S; t < (b + 1) * batch.S; ++t) {
      const int32_t id = batch.src[t];
      if (id < 0 || id >= weights.config.vocab_size)
        fail(ErrorCode::kData, "batch: token {} of sequence {}: expected an id in [0, {}), got {}", t - b * batch.S, b,
             weights.config.vocab_size, id);
      if (batch.tgt[t] >= weights.config.vocab_size)
        fail(ErrorCode::kData, "batch: target {} of sequence {}: expected an id < {}, got {}", t - b * batch.S, b,
             weights.config.vocab_size, batch.tgt[t]);
      if (begins_text(t)) position = kFirstPosition;
      const bool pad = id == weights.config.pad_id;
      has_pad |= pad;
      positions_T[t] = pad ? kPadPosition : position++;
      targets_T[t] = batch.tgt[t] < 0 || batch.tgt[t] == weights.config.pad_id ? -1 : batch.tgt[t];
    }
  }
  valid_T.clear();
  if (has_pad) {
    valid_T.resize(T);
    std::transform(batch.src.begin(), batch.src.end(), valid_T.begin(),
                   [&](int32_t id) { return static_cast<uint8_t>(id != weights.config.pad_id); });
  }
  key_end_T.assign(batch.texts_apart ? T : 0, static_cast<int32_t>(batch.S));
  for (int64_t t = T - 2; batch.texts_apart && t >= 0; --t) {
    const int64_t next = (t + 1) % batch.S;  // 0: t is the last of its sequence
    if (next > 0) key_end_T[t] = begins_text(t + 1) ? static_cast<int32_t>(next) : key_end_T[t + 1];
  }
  own = {0, batch.B};
  if (shared) own = share_of(batch.B, options.ranks->rank(), options.ranks->size(), routing_unit());
  shape = {own.size(), batch.S, {}};
  if (shared) shape.whole = {.B = batch.B, .before = own.begin, .token_valid = valid_T, .ids_T = batch.src};
  stats.clear();
}

// Sequences that are not parted: those of a routing group, where it is not the whole micro-batch.
template <class P>
int64_t DecoderState<P>::routing_unit() const {
  return std::max<int64_t>(1, weights.config.num_moe_layers() > 0 ? weights.config.moe.group_sequences : 0);
}

// To where ops read it, once there is memory for a batch of its size.
template <class P>
void DecoderState<P>::place_batch() {
  copy<int32_t>(part<const int32_t>(targets_T, own_tokens()), work.targets_T);
  if (!valid_T.empty()) {
    copy<uint8_t>(part<const uint8_t>(valid_T, own_tokens()), work.valid_T);
    shape.token_valid = work.valid_T;
  }
  if (!key_end_T.empty()) {
    copy<int32_t>(part<const int32_t>(key_end_T, own_tokens()), work.key_end_T);
    shape.key_end = work.key_end_T;
  }
  if (!is_shared()) return;
  shape.whole.token_valid = to_device<uint8_t>(shape.whole.token_valid, work.valid_of_all);
  shape.whole.ids_T = to_device<int32_t>(shape.whole.ids_T, work.ids_of_all);
}

// Where every rank routes groups of its own, their reports become those of the whole micro-batch. Where all route all,
// they are.
template <class P>
void DecoderState<P>::merge_reports() {
  if (!is_shared() || stats.empty() || weights.config.moe.group_sequences == 0) return;
  for (RouterStats& layer : stats) layer.arrive();
  const int64_t S = shape.S, T = shape.whole.B * S, size = weights.config.moe.group_sequences * S;
  const auto groups = static_cast<size_t>((T + size - 1) / size), before = static_cast<size_t>(own.begin * S / size);
  std::vector<int64_t> counts;
  std::vector<double> sums;
  for (const RouterStats& layer : stats) {
    counts.insert(counts.end(), layer.load_E.begin(), layer.load_E.end());
    counts.insert(counts.end(), layer.dropped_K.begin(), layer.dropped_K.end());
    sums.push_back(layer.entropy_sum);
    for (const RouterStats::Loss& loss : layer.losses) {
      const auto at = static_cast<std::ptrdiff_t>(sums.size() + before);
      sums.resize(sums.size() + groups, 0.0);
      std::copy(loss.by_group.begin(), loss.by_group.end(), sums.begin() + at);
    }
  }
  options.ranks->sum(std::span(counts), "loads of experts");
  options.ranks->sum(std::span(sums), "losses of routing");
  auto count = counts.begin();
  auto sum = sums.begin();
  for (RouterStats& layer : stats) {
    for (int64_t& load : layer.load_E) load = *count++;
    for (int64_t& dropped : layer.dropped_K) dropped = *count++;
    layer.tokens = layer.loss_tokens = T;
    layer.entropy_sum = *sum++;
    for (RouterStats::Loss& loss : layer.losses) {
      loss.by_group.assign(sum, sum + static_cast<std::ptrdiff_t>(groups));
      sum += static_cast<std::ptrdiff_t>(groups);
      loss.mean = 0.0;
      for (size_t g = 0; g < groups; ++g)
        loss.mean += loss.by_group[g] *
                     static_cast<double>(std::min(T, static_cast<int64_t>(g + 1) * size) - static_cast<int64_t>(g) * size) /
                     static_cast<double>(T);
    }
  }
}

template struct DecoderState<F64>;
template struct DecoderState<F32>;
template struct DecoderState<Bf16>;

}  // namespace troupe
