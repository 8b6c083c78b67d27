// Pages of keys and values: what sequences share, copy, give back and run out of.
#include "infer/kv_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <span>
#include <vector>

#include "base/rng.h"
#include "error_of.h"
#include "fenced_memory.h"
#include "infer/incremental.h"
#include "model/decoder_parameters.h"

namespace troupe {
namespace {

ModelConfig tiny() {
  ModelConfig config;
  config.num_layers = 2, config.d_model = 16, config.num_heads = 2, config.d_ff = 24, config.vocab_size = 50;
  return config;
}

// Counts what a pool asks for.
class CountingMemory : public Memory {
 public:
  std::string_view name() const override { return "counting"; }
  Device device() const override { return Device::kCpu; }
  void* allocate(int64_t bytes) override {
    ++allocations;
    largest = std::max(largest, bytes);
    return host_memory().allocate(bytes);
  }
  void free(void* data, int64_t bytes) noexcept override {
    ++frees;
    host_memory().free(data, bytes);
  }
  int64_t allocations = 0, frees = 0, largest = 0;
};

template <class P>
class Model {
 public:
  explicit Model(Memory& memory = host_memory()) : params_(table_, {}, memory) { initialize(params_, 3); }

  // -log p of tokens after the first, which are appended to the past.
  std::vector<typename P::real> score(KvSequence<P>& past, std::span<const int32_t> tokens) {
    const NewTokens<P> request{tokens.first(tokens.size() - 1), &past};
    const auto hidden = incremental_.run({&request, 1});
    std::vector<typename P::real> nll(tokens.size() - 1);
    incremental_.score(hidden, tokens.subspan(1), nll);
    return nll;
  }
  std::vector<typename P::real> whole(const std::vector<int32_t>& tokens) {
    Batch batch;
    batch.B = 1, batch.S = static_cast<int64_t>(tokens.size()) - 1;
    batch.src.assign(tokens.begin(), tokens.end() - 1);
    batch.tgt.assign(tokens.begin() + 1, tokens.end());
    std::vector<typename P::real> nll(static_cast<size_t>(batch.S));
    decoder_.score(batch, {.capacity = {CapacityRule::kDropless}}, nll);
    return nll;
  }

 private:
  ModelConfig config_ = tiny();
  ParameterTable table_ = make_parameter_table(config_);
  ParameterStore<typename P::real> params_;
  Decoder<P> decoder_{config_, params_};
  IncrementalDecoder<P> incremental_{decoder_};
};

std::vector<int32_t> some_tokens(size_t count, uint64_t seed) {
  Rng rng(seed);
  std::vector<int32_t> tokens(count);
  for (int32_t& token : tokens) token = static_cast<int32_t>(rng.below(50));
  return tokens;
}

TEST(KvPool, PiecesAcrossPagesScoreLikeTheWholeSequence) {
  Model<F64> model;
  KvPool<F64> pool(tiny(), host_memory());
  KvSequence<F64> past(pool);
  const std::vector<int32_t> tokens = some_tokens(200, 1);
  std::vector<double> actual;
  size_t at = 0;
  for (const size_t count : {63, 1, 1, 70, 57, 7}) {  // ends of pieces before, at and after those of pages
    const auto nll = model.score(past, std::span(tokens).subspan(at, count + 1));
    actual.insert(actual.end(), nll.begin(), nll.end());
    at += count;
  }
  const std::vector<double> expected = model.whole(tokens);
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) EXPECT_NEAR(actual[i], expected[i], 1e-12) << i;
  EXPECT_EQ(pool.pages_in_use(), 4);
}

template <class P>
class KvSharing : public testing::Test {};
using Precisions = testing::Types<F64, F32, Bf16>;
TYPED_TEST_SUITE(KvSharing, Precisions);

// Continuations of a shared past, one after the other and interleaved, against the same with pasts of their own.
TYPED_TEST(KvSharing, ChangesNoBit) {
  using P = TypeParam;
  Model<P> model;
  KvPool<P> pool(tiny(), host_memory());
  for (const size_t length : {30, 64, 100}) {
    const std::vector<int32_t> prefix = some_tokens(length + 1, 1);
    KvSequence<P> shared(pool);
    model.score(shared, prefix);
    std::vector<KvSequence<P>> forks, apart;
    for (int i = 0; i < 3; ++i) {
      forks.push_back(shared.fork());
      model.score(apart.emplace_back(pool), prefix);
    }
    for (size_t round = 0; round < 3; ++round)
      for (size_t i = 0; i < forks.size(); ++i) {
        const std::vector<int32_t> tokens = some_tokens(2 + 20 * round, 10 * round + i);
        EXPECT_EQ(model.score(forks[i], tokens), model.score(apart[i], tokens)) << length << ", " << round << ", " << i;
      }
    EXPECT_EQ(shared.length(), static_cast<int64_t>(length));
    const std::vector<int32_t> tokens = some_tokens(9, 5);
    KvSequence<P> again(pool);
    model.score(again, prefix);
    EXPECT_EQ(model.score(shared, tokens), model.score(again, tokens)) << length;
  }
  EXPECT_EQ(pool.pages_in_use(), 0);
}

TEST(KvPool, CopiesOnlyTheSharedPageThatIsWritten) {
  Model<F32> model;
  KvPool<F32> pool(tiny(), host_memory());
  KvSequence<F32> past(pool);
  model.score(past, some_tokens(101, 1));
  EXPECT_EQ(pool.pages_in_use(), 2);
  KvSequence<F32> other = past.fork();
  EXPECT_EQ(pool.pages_in_use(), 2);
  other.reserve(1);  // a copy of the second page
  EXPECT_EQ(pool.pages_in_use(), 3);
  past.reserve(28);  // which is its own again
  EXPECT_EQ(pool.pages_in_use(), 3);
  past.reserve(29);
  EXPECT_EQ(pool.pages_in_use(), 4);
  past = KvSequence<F32>(pool);
  EXPECT_EQ(pool.pages_in_use(), 2);
}

// A shared past that one of its users cuts and continues otherwise stays as it is for the others.
TEST(KvPool, TruncatesWithoutTouchingWhatOthersHave) {
  Model<F32> model;
  KvPool<F32> pool(tiny(), host_memory());
  const std::vector<int32_t> prefix = some_tokens(101, 1), tokens = some_tokens(20, 2);
  KvSequence<F32> past(pool), expected(pool);
  model.score(past, prefix);
  model.score(expected, prefix);
  KvSequence<F32> cut = past.fork();
  cut.truncate(80);
  model.score(cut, some_tokens(50, 3));
  EXPECT_EQ(cut.length(), 129);
  EXPECT_EQ(model.score(past, tokens), model.score(expected, tokens));
  cut.truncate(200);
  EXPECT_EQ(cut.length(), 129);
  cut.truncate(0);
  EXPECT_EQ(pool.pages_in_use(), 4);
}

TEST(KvPool, SaysWhenPagesRunOut) {
  Model<F32> model;
  KvPool<F32> pool(tiny(), host_memory(), 3);
  KvSequence<F32> past(pool);
  model.score(past, some_tokens(101, 1));
  KvSequence<F32> other = past.fork();
  EXPECT_THAT(
      test::error_of([&] { model.score(other, some_tokens(31, 2)); }, ErrorCode::kEnvironment),
      testing::HasSubstr("keys and values: expected at most 1 more pages of 64 positions, got 2 (of 3)"));
  EXPECT_EQ(other.length(), 100);
  EXPECT_EQ(pool.pages_in_use(), 2);
  past.truncate(0);
  model.score(other, some_tokens(31, 2));
  EXPECT_EQ(pool.pages_in_use(), 3);
}

TEST(KvPool, DoesNotGrowOverAThousandCandidates) {
  Model<F32> model;
  CountingMemory memory;
  {
    KvPool<F32> pool(tiny(), memory);
    KvSequence<F32> prefix(pool);
    model.score(prefix, some_tokens(101, 1));
    for (uint64_t candidate = 0; candidate < 1000; ++candidate) {
      KvSequence<F32> past = prefix.fork();
      model.score(past, some_tokens(4, candidate));
      ASSERT_EQ(pool.pages_in_use(), 3);
    }
    EXPECT_EQ(memory.allocations, tiny().num_layers);
    EXPECT_EQ(memory.frees, 0);
  }
  EXPECT_EQ(memory.frees, memory.allocations);
}

// A page of the whole model would be more than a huge page; one of a layer is not, and nothing asks for huge pages.
TEST(KvPool, TakesLessThanHugePages) {
  ModelConfig config = tiny();
  config.num_layers = 12, config.d_model = 768;
  CountingMemory memory;
  KvPool<Bf16> pool(config, memory);
  KvSequence<Bf16> past(pool);
  past.reserve(1000);
  EXPECT_EQ(pool.pages_in_use(), 16);
  EXPECT_EQ(memory.allocations, 2 * 12);
  EXPECT_LT(memory.largest, int64_t{2} << 20);
}

// Keys and values are written, copied and read by ops alone.
TYPED_TEST(KvSharing, LeavesElementsToOps) {
  using P = TypeParam;
  const std::vector<int32_t> prefix = some_tokens(101, 1), tokens = some_tokens(40, 2);
  const auto outcome = [&](Memory& memory, const std::function<void()>& close) {
    Model<P> model(memory);
    KvPool<P> pool(tiny(), memory);
    KvSequence<P> past(pool);
    close();
    auto result = model.score(past, prefix);
    KvSequence<P> fork = past.fork();
    for (KvSequence<P>* sequence : {&fork, &past}) {
      const auto nll = model.score(*sequence, tokens);
      result.insert(result.end(), nll.begin(), nll.end());
    }
    return result;
  };
  std::vector<typename P::real> inside;
  {
    test::FencedMemory fenced;
    inside = outcome(fenced, [&] { fenced.close(); });
  }
  EXPECT_EQ(inside, outcome(host_memory(), [] {}));
}

}  // namespace
}  // namespace troupe
