// Who moves which parameter, where several ranks train one model. An expert is moved by the rank that holds it, which has
// its whole gradient. Every rank holds all dense parameters and has a part of their gradients, that of its tokens; one
// rank sums these parts, in the order of ranks, keeps the moments (ZeRO-1), moves the parameter and tells the others. All
// are sums over tokens, so there is no factor to forget.
#pragma once

#include <cstdint>
#include <vector>

#include "dist/communicator.h"
#include "nn/parameters.h"

namespace troupe {

// Elements that a rank sends in one exchange of dense parameters, at most, so that buffers stay small.
inline constexpr int64_t kRoundElements = 1 << 20;

// Elements of dense parameters that each of so many ranks moves.
std::vector<int64_t> dense_loads(const ParameterTable& table, const Selection& trained, int ranks);

class RankShares {
 public:
  // Tensors go to the rank that has least so far; what is not trained is the first rank's, or that of its expert.
  RankShares(const ParameterTable& table, const Selection& trained, Communicator& ranks);

  Communicator& ranks() const { return ranks_; }
  int owner(const Parameter& parameter) const { return owners_[static_cast<size_t>(parameter.slot.begin)]; }
  bool is_own(const Parameter& parameter) const { return owner(parameter) == ranks_.rank(); }

  // Leaves whole gradients of what this rank moves, and zeros of what others do.
  void sum_gradients(ParameterStore<float>& grads) const;
  // Dense parameters that were moved, to all ranks.
  void spread(ParameterStore<float>& params) const;
  // Elements of what this rank moves.
  int64_t own_elements() const { return own_elements_; }

 private:
  // The dense trained parameters of a rank, one after the other.
  struct Stream {
    std::vector<Slot> slots;
    int64_t size = 0;
  };
  template <class F>
  void each_piece(const Stream& stream, Share part, const F& f) const;
  std::vector<int64_t> counts_of_round(int64_t round) const;
  int64_t rounds() const;

  Communicator& ranks_;
  std::vector<int> owners_;      // by entry of the table
  std::vector<int64_t> sizes_;   // elements, by entry
  std::vector<Stream> streams_;  // by rank
  int64_t own_elements_ = 0;
};

}  // namespace troupe
