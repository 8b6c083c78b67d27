#include "data/loader/loader.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/error.h"
#include "base/rng.h"
#include "data/loader/permutation.h"
#include "io/checksum.h"

namespace troupe {
namespace {

void check(const std::vector<Corpus>& corpora) {
  if (corpora.empty()) fail(ErrorCode::kUsage, "data.train: expected at least one dataset, got none");
  const Corpus& front = corpora.front();
  std::set<std::string> names;
  for (const Corpus& corpus : corpora) {
    if (!names.insert(corpus.name).second)
      fail(ErrorCode::kUsage, "data.train: expected different names, got {} twice (write NAME=FOLDER)", corpus.name);
    if (!(corpus.weight >= 0.0) || !std::isfinite(corpus.weight))
      fail(ErrorCode::kUsage, "data.weights: {}: expected a number >= 0, got {}", corpus.name, corpus.weight);
    if ((corpus.weight > 0.0) != (front.weight > 0.0))
      fail(ErrorCode::kUsage, "data.weights: expected a weight for every dataset or for none, got none for {}",
           corpus.weight > 0.0 ? front.name : corpus.name);
    if (corpus.data->tokens() == 0)
      fail(ErrorCode::kData, "{}: expected at least one token, got none", corpus.data->path().string());
    if (const auto& a = front.data->vocabulary(), &b = corpus.data->vocabulary(); a != b)
      fail(ErrorCode::kData, "{}: expected the tokenizer of {} ({}, {} ids), got {} ({} ids)",
           corpus.data->path().string(), front.data->path().string(), to_hex(a.tokenizer), a.size, to_hex(b.tokenizer),
           b.size);
  }
}

std::vector<Blocks> blocks_of(const std::vector<Corpus>& corpora, int64_t S) {
  check(corpora);
  std::vector<Blocks> blocks;
  for (const Corpus& corpus : corpora) blocks.emplace_back(*corpus.data, S);
  return blocks;
}

std::vector<double> weights_of(const std::vector<Corpus>& corpora, const std::vector<Blocks>& blocks) {
  std::vector<double> weights;
  for (size_t i = 0; i < corpora.size(); ++i)
    weights.push_back(corpora[i].weight > 0.0 ? corpora[i].weight : static_cast<double>(blocks[i].size()));
  return weights;
}

// Rows [first, first + B) of a step, to be filled in.
Batch empty_batch(int64_t first, int64_t B, int64_t S) {
  const std::vector<int32_t> ids(static_cast<size_t>(B * S));
  return {.B = B, .S = S, .src = ids, .tgt = ids, .first_sequence = first};
}

}  // namespace

void Blocks::read(int64_t block, int32_t* src, int32_t* tgt) const {
  const int64_t begin = block * S_, end = std::min(tokens_, begin + S_);
  if (begin > 0)
    dataset_->read(begin - 1, begin, src);
  else
    src[0] = dataset_->vocabulary().end_of_text;
  dataset_->read(begin, end, tgt);
  std::copy(tgt, tgt + (end - begin - 1), src + 1);
  std::fill(src + (end - begin), src + S_, dataset_->vocabulary().end_of_text);
  std::fill(tgt + (end - begin), tgt + S_, -1);
}

Batch Blocks::batch(int64_t first, int64_t count) const {
  Batch batch = empty_batch(first, count, S_);
  for (int64_t row = 0; row < count; ++row) read(first + row, &batch.src[row * S_], &batch.tgt[row * S_]);
  return batch;
}

Loader::Loader(std::vector<Corpus> corpora, uint64_t seed, int64_t B, int64_t S)
    : corpora_(std::move(corpora)),
      blocks_(blocks_of(corpora_, S)),
      mixture_(weights_of(corpora_, blocks_)),
      seed_(seed),
      B_(B),
      S_(S) {}

int64_t Loader::block(size_t corpus, int64_t number) const {
  const int64_t size = blocks_[corpus].size();
  const auto epoch = static_cast<uint64_t>(number / size);
  const uint64_t key = mix_key(mix_key(seed_, corpus), epoch);
  return static_cast<int64_t>(Permutation(key, static_cast<uint64_t>(size))(static_cast<uint64_t>(number % size)));
}

Batch Loader::batch(int64_t step, int64_t first, int64_t count) const {
  Batch batch = empty_batch(first, count, S_);
  Mixture::State state = mixture_.after(step * B_ + first);
  for (int64_t row = 0; row < count; ++row) {
    const size_t corpus = state.next();
    const int64_t number = state.count()[corpus] - 1;
    blocks_[corpus].read(block(corpus, number), &batch.src[row * S_], &batch.tgt[row * S_]);
  }
  return batch;
}

std::vector<Loader::Use> Loader::use(int64_t steps) const {
  const Mixture::State state = mixture_.after(steps * B_);
  std::vector<Use> result;
  for (size_t i = 0; i < corpora_.size(); ++i)
    result.push_back({.name = corpora_[i].name,
                      .share = mixture_.share(i),
                      .sequences = state.count()[i],
                      .epochs = static_cast<double>(state.count()[i]) / static_cast<double>(blocks_[i].size())});
  return result;
}

}  // namespace troupe
