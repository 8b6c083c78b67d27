#include "train/rank_shares.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/threads.h"
#include "ops/elementwise.h"
#include "ops/transfer.h"

namespace troupe {
namespace {

constexpr int64_t kChunk = 1 << 14;
constexpr size_t kUnderWay = 4;  // sums at a time, so that buffers stay small

bool is_moved(const Parameter& parameter, const Selection& trained) {
  return parameter.trainable() && (!trained || trained(parameter));
}

template <class T>
std::span<T> piece(std::span<T> values, Share part) {
  return values.subspan(static_cast<size_t>(part.begin), static_cast<size_t>(part.size()));
}

// Gives dense tensors away, in the order of the table.
class LeastLoaded {
 public:
  explicit LeastLoaded(int ranks) : loads_(static_cast<size_t>(ranks), 0) {}

  // `aligned`: the tensor begins.
  int owner(bool aligned, int64_t size) {
    if (aligned) owner_ = std::min_element(loads_.begin(), loads_.end()) - loads_.begin();
    loads_[static_cast<size_t>(owner_)] += size;
    return static_cast<int>(owner_);
  }
  const std::vector<int64_t>& loads() const { return loads_; }

 private:
  std::vector<int64_t> loads_;
  std::ptrdiff_t owner_ = 0;
};

}  // namespace

std::vector<int64_t> dense_loads(const ParameterTable& table, const Selection& trained, int ranks) {
  LeastLoaded given(ranks);
  for (const ParameterFamily& family : table.families())
    if (family.pattern.role != Role::kExpert)
      given.owner(family.aligned, is_moved(family.pattern, trained) ? family.size() : 0);
  return given.loads();
}

std::vector<int64_t> copy_loads(const ParameterTable& table, const Selection& trained, int copies) {
  LeastLoaded given(copies);
  for (const ParameterFamily& family : table.families())
    if (family.pattern.role == Role::kExpert)
      given.owner(family.aligned, is_moved(family.pattern, trained) ? family.pattern.size() : 0);
  return given.loads();
}

int64_t bucket_elements(const MessageSizes& sizes, int ranks) {
  return sizes.bucket_elements * std::max(1, ranks / 16);  // of which each rank gets its part: not too small a message
}

SharedSums::SharedSums(const ParameterTable& table, const Selection& among, const Selection& trained,
                       Communicator& ranks)
    : ranks_(ranks), round_elements_(ranks.message_sizes().bucket_elements) {
  owners_.assign(static_cast<size_t>(table.num_entries()), 0);
  sizes_.assign(static_cast<size_t>(table.num_entries()), 0);
  LeastLoaded given(ranks.size());
  std::vector<std::vector<Stream>> of_layers;  // by layer + 1, by rank
  for (const ParameterFamily& family : table.families()) {
    for (int64_t i = 0; i < family.count(); ++i) {
      const Parameter parameter = family.member(i);
      if (!among(parameter)) continue;
      const auto at = static_cast<size_t>(parameter.slot.begin);
      sizes_[at] = parameter.size();
      const bool moves = is_moved(parameter, trained);
      const int owner = given.owner(family.aligned, moves ? parameter.size() : 0);
      if (!moves) continue;
      owners_[at] = owner;
      const auto layer = static_cast<size_t>(parameter.layer + 1);
      if (of_layers.size() <= layer)
        of_layers.resize(layer + 1, std::vector<Stream>(static_cast<size_t>(ranks.size())));
      Stream& stream = of_layers[layer][static_cast<size_t>(owner)];
      stream.slots.push_back(parameter.slot);
      stream.size += parameter.size();
      if (is_own(parameter)) own_elements_ += parameter.size();
    }
  }
  make_buckets(of_layers);
}

// What is of no layer is final last: the embedding.
void SharedSums::make_buckets(std::vector<std::vector<Stream>>& of_layers) {
  const int64_t worth = bucket_elements(ranks_.message_sizes(), ranks_.size());
  int64_t size = 0;
  for (int64_t layer = static_cast<int64_t>(of_layers.size()) - 2; layer >= -1; --layer) {
    if (size == 0)
      buckets_.push_back({.first_layer = -1, .streams = std::vector<Stream>(static_cast<size_t>(ranks_.size()))});
    for (size_t r = 0; r < buckets_.back().streams.size(); ++r) {
      Stream &all = buckets_.back().streams[r], &more = of_layers[static_cast<size_t>(layer + 1)][r];
      all.slots.insert(all.slots.end(), more.slots.begin(), more.slots.end());
      all.size += more.size, size += more.size;
    }
    buckets_.back().first_layer = layer;
    if (size >= worth) size = 0;
  }
}

// f(slot, elements of it, where they stand in the part) for what of each parameter lies in `part` of the stream.
template <class F>
void SharedSums::each_piece(const Stream& stream, Share part, const F& f) const {
  int64_t begin = 0;
  for (const Slot slot : stream.slots) {
    const int64_t end = begin + sizes_[static_cast<size_t>(slot.begin)];
    const Share piece{std::max(begin, part.begin), std::min(end, part.end)};
    if (piece.size() > 0) f(slot, Share{piece.begin - begin, piece.end - begin}, piece.begin - part.begin);
    begin = end;
    if (begin >= part.end) return;
  }
}

Share SharedSums::part_of_round(const Stream& stream, int64_t round) const {
  return {std::min(stream.size, round * round_elements_), std::min(stream.size, (round + 1) * round_elements_)};
}

std::vector<int64_t> SharedSums::counts_of_round(const Bucket& bucket, int64_t round) const {
  std::vector<int64_t> counts;
  for (const Stream& stream : bucket.streams) counts.push_back(part_of_round(stream, round).size());
  return counts;
}

int64_t SharedSums::rounds(const Bucket& bucket) const {
  int64_t rounds = 0;
  for (const Stream& stream : bucket.streams)
    while (part_of_round(stream, rounds).size() > 0) ++rounds;
  return rounds;
}

void SharedSums::layer_done(ParameterStore<float>& grads, int64_t layer) {
  begin_sums(grads, layer);
  ranks_.progress();
}

// Of buckets that are final with `layer`.
void SharedSums::begin_sums(ParameterStore<float>& grads, int64_t layer) {
  for (; next_bucket_ < buckets_.size() && buckets_[next_bucket_].first_layer >= layer; ++next_bucket_)
    for (int64_t round = 0; round < rounds(buckets_[next_bucket_]); ++round) {
      if (sums_.size() == kUnderWay) finish_first_sum(grads);
      sums_.push_back({.bucket = &buckets_[next_bucket_], .round = round, .sent = {}, .received = {}, .pending = {}});
      begin_sum(grads, sums_.back());
    }
}

void SharedSums::begin_sum(const ParameterStore<float>& grads, Sum& sum) {
  const auto N = static_cast<size_t>(ranks_.size()), own = static_cast<size_t>(ranks_.rank());
  RankRows to{.counts = counts_of_round(*sum.bucket, sum.round), .starts = {}};
  RankRows from{.counts = std::vector<int64_t>(N, to.counts[own]), .starts = {}};
  sum.sent = Buffer<float>(std::accumulate(to.counts.begin(), to.counts.end(), int64_t{0}), staging_memory());
  sum.received = Buffer<float>(static_cast<int64_t>(N) * to.counts[own], staging_memory());
  int64_t start = 0;
  for (size_t r = 0; r < N; ++r) {
    const Stream& stream = sum.bucket->streams[r];
    each_piece(stream, part_of_round(stream, sum.round), [&](Slot slot, Share part, int64_t place) {
      copy<float>(piece(grads.at(slot), part), piece(sum.sent.span(), {start + place, start + place + part.size()}));
    });
    to.starts.push_back(start), from.starts.push_back(static_cast<int64_t>(r) * to.counts[own]);
    start += to.counts[r];
  }
  sum.pending = ranks_.begin_exchange(sum.sent.data(), to, sum.received.data(), from, sizeof(float), "dense gradients");
}

void SharedSums::finish_first_sum(ParameterStore<float>& grads) {
  Sum& sum = sums_.front();
  ranks_.finish(std::move(sum.pending));
  const Stream& stream = sum.bucket->streams[static_cast<size_t>(ranks_.rank())];
  const Share round = part_of_round(stream, sum.round);
  float* const all = sum.received.data();
  parallel_chunks(round.size(), kChunk, [&](int64_t begin, int64_t end) {
    for (int64_t r = 1; r < ranks_.size(); ++r) {
      const float* const more = all + r * round.size();
      for (int64_t i = begin; i < end; ++i) all[i] += more[i];
    }
  });
  each_piece(stream, round, [&](Slot slot, Share part, int64_t place) {
    copy<float>(piece(sum.received.span(), {place, place + part.size()}), piece(grads.at(slot), part));
  });
  sums_.pop_front();
}

void SharedSums::sum_gradients(ParameterStore<float>& grads) {
  begin_sums(grads, -1);
  while (!sums_.empty()) finish_first_sum(grads);
  next_bucket_ = 0;
  for (const Bucket& bucket : buckets_)
    for (size_t r = 0; r < bucket.streams.size(); ++r)
      if (static_cast<int>(r) != ranks_.rank())
        for (const Slot slot : bucket.streams[r].slots) {
          const std::span<float> values = grads.at(slot);
          run(Fill<float>{.x = {values.data(), 1, static_cast<int64_t>(values.size())}});
        }
}

void SharedSums::spread(ParameterStore<float>& params) const {
  const auto own = static_cast<size_t>(ranks_.rank());
  Buffer<float> sent{staging_memory()}, received{staging_memory()};
  for (const Bucket& bucket : buckets_)
    for (int64_t round = 0; round < rounds(bucket); ++round) {
      const std::vector<int64_t> counts = counts_of_round(bucket, round);
      sent.reserve(counts[own]);
      received.reserve(std::accumulate(counts.begin(), counts.end(), int64_t{0}));
      each_piece(bucket.streams[own], part_of_round(bucket.streams[own], round),
                 [&](Slot slot, Share part, int64_t place) {
                   copy<float>(piece(std::as_const(params).at(slot), part),
                               piece(sent.span(), {place, place + part.size()}));
                 });
      ranks_.gather(sent.data(), received.data(), counts, sizeof(float), "moved parameters");
      int64_t from = 0;
      for (size_t r = 0; r < bucket.streams.size(); ++r) {
        if (r != own)
          each_piece(bucket.streams[r], part_of_round(bucket.streams[r], round),
                     [&](Slot slot, Share part, int64_t place) {
                       copy<float>(piece(received.span(), {from + place, from + place + part.size()}),
                                   piece(params.at(slot), part));
                     });
        from += counts[r];
      }
    }
}

namespace {

// Of every layer; 0 without any.
int64_t num_experts(const ParameterTable& table) {
  for (const ParameterFamily& family : table.families())
    if (family.pattern.role == Role::kExpert) return family.count();
  return 0;
}

bool is_of_expert(const Parameter& parameter) { return parameter.role == Role::kExpert; }

}  // namespace

RankShares::RankShares(const ParameterTable& table, const Selection& trained, Communicator& ranks)
    : experts_(experts_of(num_experts(table), ranks.rank(), ranks.size())),
      dense_(table, [](const Parameter& parameter) { return !is_of_expert(parameter); }, trained, ranks),
      own_elements_(dense_.own_elements()) {
  const auto is_held = [own = experts_](const Parameter& parameter) {
    return is_of_expert(parameter) && parameter.expert >= own.begin && parameter.expert < own.end;
  };
  if (const int64_t experts = num_experts(table); experts > 0 && experts < ranks.size()) {
    group_ = ranks.split(static_cast<int>(experts_.begin));
    copies_.emplace(table, is_held, trained, *group_);
    own_elements_ += copies_->own_elements();
    return;
  }
  for (const ParameterFamily& family : table.families())
    for (int64_t i = experts_.begin; is_of_expert(family.pattern) && i < experts_.end; ++i)
      if (const Parameter parameter = family.member(i); is_moved(parameter, trained)) own_elements_ += parameter.size();
}

bool RankShares::is_own(const Parameter& parameter) const {
  if (!is_of_expert(parameter)) return dense_.is_own(parameter);
  const bool is_held = parameter.expert >= experts_.begin && parameter.expert < experts_.end;
  return is_held && (!copies_ || copies_->is_own(parameter));
}

void RankShares::layer_done(ParameterStore<float>& grads, int64_t layer) {
  dense_.layer_done(grads, layer);
  if (copies_) copies_->layer_done(grads, layer);
}

void RankShares::sum_gradients(ParameterStore<float>& grads) {
  dense_.sum_gradients(grads);
  if (copies_) copies_->sum_gradients(grads);
}

void RankShares::spread(ParameterStore<float>& params) const {
  dense_.spread(params);
  if (copies_) copies_->spread(params);
}

}  // namespace troupe
