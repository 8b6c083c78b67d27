#include "train/rank_shares.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/threads.h"

namespace troupe {
namespace {

constexpr int64_t kChunk = 1 << 14;

bool is_moved(const Parameter& parameter, const Selection& trained) {
  return parameter.trainable() && (!trained || trained(parameter));
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

RankShares::RankShares(const ParameterTable& table, const Selection& trained, Communicator& ranks)
    : ranks_(ranks), streams_(static_cast<size_t>(ranks.size())) {
  owners_.assign(static_cast<size_t>(table.num_entries()), 0);
  sizes_.assign(static_cast<size_t>(table.num_entries()), 0);
  LeastLoaded given(ranks.size());
  for (const ParameterFamily& family : table.families()) {
    for (int64_t i = 0; i < family.count(); ++i) {
      const Parameter parameter = family.member(i);
      const auto at = static_cast<size_t>(parameter.slot.begin);
      sizes_[at] = parameter.size();
      const bool moves = is_moved(parameter, trained);
      if (parameter.role == Role::kExpert) {
        for (int r = 0; r < ranks.size(); ++r)
          if (const Share held = share_of(family.count(), r, ranks.size()); i >= held.begin && i < held.end) owners_[at] = r;
      } else if (const int owner = given.owner(family.aligned && i == 0, moves ? parameter.size() : 0); moves) {
        owners_[at] = owner;
        Stream& stream = streams_[static_cast<size_t>(owner)];
        stream.slots.push_back(parameter.slot);
        stream.size += parameter.size();
      }
      if (moves && is_own(parameter)) own_elements_ += parameter.size();
    }
  }
}

// f(slot, elements of it, where they stand in the part) for what of each parameter lies in `part` of the stream.
template <class F>
void RankShares::each_piece(const Stream& stream, Share part, const F& f) const {
  int64_t begin = 0;
  for (const Slot slot : stream.slots) {
    const int64_t end = begin + sizes_[static_cast<size_t>(slot.begin)];
    const Share piece{std::max(begin, part.begin), std::min(end, part.end)};
    if (piece.size() > 0) f(slot, Share{piece.begin - begin, piece.end - begin}, piece.begin - part.begin);
    begin = end;
    if (begin >= part.end) return;
  }
}

int64_t RankShares::rounds() const {
  int64_t most = 0;
  for (const Stream& stream : streams_) most = std::max(most, stream.size);
  return (most + kRoundElements - 1) / kRoundElements;
}

void RankShares::sum_gradients(ParameterStore<float>& grads) const {
  const auto N = static_cast<size_t>(ranks_.size()), own = static_cast<size_t>(ranks_.rank());
  const auto at = [](ParameterStore<float>& store, Slot slot, Share part) {
    return store.at(slot).subspan(static_cast<size_t>(part.begin), static_cast<size_t>(part.size()));
  };
  std::vector<float> sent, received;
  for (int64_t round = 0; round < rounds(); ++round) {
    const std::vector<int64_t> counts = counts_of_round(round);
    const std::vector<int64_t> from(N, counts[own]);
    sent.resize(static_cast<size_t>(std::accumulate(counts.begin(), counts.end(), int64_t{0})));
    received.resize(N * static_cast<size_t>(counts[own]));
    auto to = sent.begin();
    for (size_t r = 0; r < N; ++r) {
      const int64_t begin = round * kRoundElements;
      each_piece(streams_[r], {begin, begin + counts[r]}, [&](Slot slot, Share part, int64_t place) {
        const std::span<float> values = at(grads, slot, part);
        std::copy(values.begin(), values.end(), to + place);
      });
      to += counts[r];
    }
    ranks_.exchange(sent.data(), counts, received.data(), from, sizeof(float), "dense gradients");
    parallel_chunks(counts[own], kChunk, [&](int64_t begin, int64_t end) {
      for (int64_t r = 1; r < ranks_.size(); ++r) {
        const float* const more = received.data() + r * counts[own];
        for (int64_t i = begin; i < end; ++i) received[static_cast<size_t>(i)] += more[i];
      }
    });
    const int64_t begin = round * kRoundElements;
    each_piece(streams_[own], {begin, begin + counts[own]}, [&](Slot slot, Share part, int64_t place) {
      const std::span<float> values = at(grads, slot, part);
      std::copy_n(received.begin() + place, values.size(), values.begin());
    });
  }
  for (size_t r = 0; r < N; ++r)
    if (r != own)
      for (const Slot slot : streams_[r].slots) {
        const std::span<float> values = grads.at(slot);
        std::fill(values.begin(), values.end(), 0.0f);
      }
}

void RankShares::spread(ParameterStore<float>& params) const {
  const auto own = static_cast<size_t>(ranks_.rank());
  std::vector<float> sent, received;
  for (int64_t round = 0; round < rounds(); ++round) {
    const std::vector<int64_t> counts = counts_of_round(round);
    const int64_t begin = round * kRoundElements;
    sent.resize(static_cast<size_t>(counts[own]));
    received.resize(static_cast<size_t>(std::accumulate(counts.begin(), counts.end(), int64_t{0})));
    each_piece(streams_[own], {begin, begin + counts[own]}, [&](Slot slot, Share part, int64_t place) {
      const std::span<const float> values = std::as_const(params).at(slot);
      std::copy_n(values.begin() + part.begin, part.size(), sent.begin() + place);
    });
    ranks_.gather(sent.data(), received.data(), counts, sizeof(float), "moved parameters");
    auto from = received.begin();
    for (size_t r = 0; r < streams_.size(); ++r) {
      if (r != own)
        each_piece(streams_[r], {begin, begin + counts[r]}, [&](Slot slot, Share part, int64_t place) {
          std::copy_n(from + place, part.size(), params.at(slot).begin() + part.begin);
        });
      from += counts[r];
    }
  }
}

std::vector<int64_t> RankShares::counts_of_round(int64_t round) const {
  std::vector<int64_t> counts;
  for (const Stream& stream : streams_) counts.push_back(std::clamp<int64_t>(stream.size - round * kRoundElements, 0, kRoundElements));
  return counts;
}

}  // namespace troupe
