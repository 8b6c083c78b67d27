// Training batches. Chain: datasets -> blocks of S tokens -> a new keyed order every epoch -> mixture -> Batch.
// A batch is a pure function of (seed, step): nothing is replayed on resume, nothing depends on threads or on how a
// step is cut into micro-batches.
//
// Blocks follow fairseq's sample_break_mode none: documents are concatenated and cut every S tokens; targets are the
// block, inputs the block shifted right by one, the first input being the real previous token, or end-of-text at the
// very start. The last block of a corpus is short; its missing targets are -1 (not scored). Every token is predicted
// exactly once per epoch.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/loader/mixture.h"
#include "data/shards/dataset.h"
#include "model/batch.h"

namespace troupe {

// Blocks of S tokens of one dataset, or of its first `tokens` tokens.
class Blocks {
 public:
  Blocks(const TokenDataset& dataset, int64_t S) : Blocks(dataset, S, dataset.tokens()) {}
  Blocks(const TokenDataset& dataset, int64_t S, int64_t tokens) : dataset_(&dataset), S_(S), tokens_(tokens) {}

  int64_t size() const { return (tokens_ + S_ - 1) / S_; }
  // Writes inputs and targets of one block: S ids each.
  void read(int64_t block, int32_t* src, int32_t* tgt) const;
  // Rows [first, first + count) as a batch, in the order of the text.
  Batch batch(int64_t first, int64_t count) const;

 private:
  const TokenDataset* dataset_;
  int64_t S_, tokens_;
};

// One part of a mixture.
struct Corpus {
  std::string name;
  std::shared_ptr<const TokenDataset> data;
  double weight = 0.0;  // share of the sequences, relative to the others; 0 for all: proportional to size
};

class Loader {
 public:
  // Every step has B sequences of S tokens. Throws kUsage if there is no corpus, names repeat, weights are negative or
  // only some are 0; kData if vocabularies (tokenizers) differ or a corpus has no token.
  Loader(std::vector<Corpus> corpora, uint64_t seed, int64_t B, int64_t S);

  // Rows [first, first + count) of the batch of `step` (from 0).
  Batch batch(int64_t step, int64_t first, int64_t count) const;
  Batch batch(int64_t step) const { return batch(step, 0, B_); }

  // What the first `steps` steps read.
  struct Use {
    std::string name;
    double share = 0.0;  // of the sequences, as asked for
    int64_t sequences = 0;
    double epochs = 0.0;
  };
  std::vector<Use> use(int64_t steps) const;

  // Block that is the `number`-th sequence of a corpus, from 0, over all epochs.
  int64_t block(size_t corpus, int64_t number) const;

  const std::vector<Corpus>& corpora() const { return corpora_; }

 private:
  std::vector<Corpus> corpora_;
  std::vector<Blocks> blocks_;
  Mixture mixture_;
  uint64_t seed_;
  int64_t B_, S_;
};

}  // namespace troupe
