// Who moves which parameter, where several ranks train one model. An expert is moved by the rank that holds it, which
// has its whole gradient. Every rank holds all dense parameters and has a part of their gradients, that of its tokens;
// one rank sums these parts, in the order of ranks, keeps the moments (ZeRO-1), moves the parameter and tells the
// others. So do ranks that hold copies of one expert, each with a part of its tokens. All are sums over tokens, so there is no factor to forget. The gradients of the last layers are final first:
// they travel in buckets while the way back goes on through the others.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "dist/communicator.h"
#include "nn/parameters.h"
#include "tensor/buffer.h"

namespace troupe {

// Elements that are worth an exchange of dense parameters: a message to every rank.
int64_t bucket_elements(const MessageSizes& sizes, int ranks);

// Elements of dense parameters that each of so many ranks moves.
std::vector<int64_t> dense_loads(const ParameterTable& table, const Selection& trained, int ranks);

// Elements of an expert of every layer that each of so many ranks with copies of it moves.
std::vector<int64_t> copy_loads(const ParameterTable& table, const Selection& trained, int copies);

// Parameters that all of some ranks hold, each with a part of the gradients.
class SharedSums {
 public:
  // Of those parameters that are `among` them. Tensors go to the rank that has least so far; what is not trained is the
  // first rank's.
  SharedSums(const ParameterTable& table, const Selection& among, const Selection& trained, Communicator& ranks);

  bool is_own(const Parameter& parameter) const { return owner(parameter) == ranks_.rank(); }
  void layer_done(ParameterStore<float>& grads, int64_t layer);
  void sum_gradients(ParameterStore<float>& grads);
  void spread(ParameterStore<float>& params) const;
  int64_t own_elements() const { return own_elements_; }

 private:
  // The trained parameters that a rank moves, one after the other.
  struct Stream {
    std::vector<Slot> slots;
    int64_t size = 0;
  };
  // Of consecutive layers. It is exchanged in rounds, of which each has so much of every stream that buffers stay
  // small.
  struct Bucket {
    int64_t first_layer = -1;     // with which it is final; -1: at the end of the way back
    std::vector<Stream> streams;  // by rank
  };
  struct Sum {
    const Bucket* bucket = nullptr;
    int64_t round = 0;
    Buffer<float> sent, received;  // the host's
    std::unique_ptr<Communicator::Pending> pending;
  };
  int owner(const Parameter& parameter) const { return owners_[static_cast<size_t>(parameter.slot.begin)]; }
  template <class F>
  void each_piece(const Stream& stream, Share part, const F& f) const;
  void make_buckets(std::vector<std::vector<Stream>>& of_layers);
  Share part_of_round(const Stream& stream, int64_t round) const;
  std::vector<int64_t> counts_of_round(const Bucket& bucket, int64_t round) const;
  int64_t rounds(const Bucket& bucket) const;
  void begin_sums(ParameterStore<float>& grads, int64_t layer);
  void begin_sum(const ParameterStore<float>& grads, Sum& sum);
  void finish_first_sum(ParameterStore<float>& grads);

  Communicator& ranks_;
  int64_t round_elements_;       // of a rank, at most
  std::vector<int> owners_;      // by entry of the table
  std::vector<int64_t> sizes_;   // elements, by entry
  std::vector<Bucket> buckets_;  // from the last layers on
  size_t next_bucket_ = 0;
  std::deque<Sum> sums_;  // under way
  int64_t own_elements_ = 0;
};

class RankShares {
 public:
  // What is not trained is the first rank's, or that of its expert. All ranks make this call.
  RankShares(const ParameterTable& table, const Selection& trained, Communicator& ranks);

  bool is_own(const Parameter& parameter) const;
  // Nothing more is added to the gradients of this layer, nor of those behind it: sums that are now worth it begin.
  void layer_done(ParameterStore<float>& grads, int64_t layer);
  // All others, to the end. Leaves whole gradients of what this rank moves, and zeros of what others do.
  void sum_gradients(ParameterStore<float>& grads);
  // Parameters that were moved, to all ranks that hold them.
  void spread(ParameterStore<float>& params) const;
  // Elements of what this rank moves.
  int64_t own_elements() const { return own_elements_; }

 private:
  Share experts_;                        // that this rank holds, of each layer
  SharedSums dense_;                     // of all ranks
  std::unique_ptr<Communicator> group_;  // the ranks with copies of this one's expert; none: there are no copies
  std::optional<SharedSums> copies_;
  int64_t own_elements_ = 0;
};

}  // namespace troupe
