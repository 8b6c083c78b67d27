// Which corpus each sequence of training comes from. Corpus j's m-th sequence (m = 0, 1, ...) is due at time
// (m + 1/2) / share_j; sequences follow in order of their times, ties in order of corpora. So after any number g of
// sequences each corpus has had its share of g to within a few sequences, no corpus comes in bursts, and the state
// after g sequences is computed, not replayed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace troupe {

class Mixture {
 public:
  // Weights are positive and finite (kInternal otherwise); shares are weights over their sum.
  explicit Mixture(const std::vector<double>& weights);

  // The next sequence of the state and its corpus: `count[corpus]` is its number within the corpus.
  class State {
   public:
    size_t next();  // the corpus; its count goes up by one
    const std::vector<int64_t>& count() const { return count_; }

   private:
    friend class Mixture;
    const Mixture* mixture_ = nullptr;
    std::vector<int64_t> count_;
  };
  // How many of the first `sequences` came from each corpus. O(corpora^2), whatever `sequences`.
  State after(int64_t sequences) const;

  double share(size_t corpus) const { return share_[corpus]; }
  size_t size() const { return share_.size(); }

 private:
  double due(size_t corpus, int64_t number) const { return (static_cast<double>(number) + 0.5) / share_[corpus]; }
  std::vector<double> share_;
};

}  // namespace troupe
