#include "eval/windows.h"

#include <gtest/gtest.h>

#include "error_of.h"

namespace troupe {
namespace {

EvalText documents(const std::vector<int64_t>& lengths) {
  EvalText text{.name = "t"};
  for (const int64_t length : lengths) {
    text.ids.resize(text.ids.size() + static_cast<size_t>(length), 7);
    text.begin.push_back(text.tokens());
  }
  return text;
}

// Each token in the scored part of exactly one window, in order, and no window longer than the context.
void expect_covered(const std::vector<Window>& windows, int64_t tokens, int64_t context) {
  int64_t next = 0;
  for (const Window& window : windows) {
    EXPECT_EQ(window.scored, next);
    EXPECT_LE(window.begin, window.scored);
    EXPECT_LT(window.scored, window.end);
    EXPECT_LE(window.length(), context);
    next = window.end;
  }
  EXPECT_EQ(next, tokens);
}

TEST(Windows, BlocksCutTheWholeStream) {
  const auto windows = cut_windows(documents({5, 3, 4}), WindowMode::kBlocks, 5, 5);
  EXPECT_EQ(windows, (std::vector<Window>{{0, 0, 5, true}, {5, 5, 10, false}, {10, 10, 12, false}}));
}

TEST(Windows, SlidingOnesScoreEachTokenOnceAfterContextMinusStrideOthers) {
  const auto windows = cut_windows(documents({5, 3, 4}), WindowMode::kSliding, 5, 2);
  EXPECT_EQ(windows, (std::vector<Window>{
                         {0, 0, 5, true}, {2, 5, 7, false}, {4, 7, 9, false}, {6, 9, 11, false}, {7, 11, 12, false}}));
}

TEST(Windows, DocumentsStandAlone) {
  const auto windows = cut_windows(documents({5, 3, 4}), WindowMode::kDocuments, 4, 4);
  EXPECT_EQ(windows, (std::vector<Window>{{0, 0, 4, true}, {4, 4, 5, false}, {5, 5, 8, true}, {8, 8, 12, true}}));
}

TEST(Windows, EveryModeCoversEveryTokenOnce) {
  for (const int64_t context : {1, 2, 3, 7, 16, 64})
    for (int64_t stride = 1; stride <= context; stride = 2 * stride + 1)
      for (const WindowMode mode : {WindowMode::kBlocks, WindowMode::kSliding, WindowMode::kDocuments})
        expect_covered(cut_windows(documents({1, 17, 2, 33, 1, 6}), mode, context, stride), 60, context);
  for (const int64_t window : {0, 1, 5, 15}) expect_covered(cut_fairseq_windows(60, 16, window), 60, 16);
}

TEST(Windows, FairseqContextStandsInFrontOfEachBlock) {
  EXPECT_EQ(cut_fairseq_windows(10, 6, 2), (std::vector<Window>{{0, 0, 4, true}, {2, 4, 8, false}, {6, 8, 10, false}}));
}

TEST(Windows, FairseqOrderIsNumpysPermutationWithinALength) {
  // numpy.random.seed(1); numpy.lexsort((numpy.random.permutation(9), [64] * 8 + [59]))
  std::vector<Window> windows = cut_fairseq_windows(8 * 64 + 59, 64, 0);
  EXPECT_EQ(fairseq_order(windows), (std::vector<int64_t>{8, 5, 4, 1, 7, 6, 2, 3, 0}));
}

TEST(Windows, RefusesSizesOutOfRange) {
  const EvalText text = documents({3});
  EXPECT_EQ(test::error_of([&] { cut_windows(text, WindowMode::kSliding, 4, 5); }, ErrorCode::kUsage),
            "--stride: expected 1 to 4 tokens (--context), got 5");
  EXPECT_EQ(test::error_of([&] { cut_fairseq_windows(3, 4, 4); }, ErrorCode::kUsage),
            "--context-window: expected 0 to 3 tokens (less than --context), got 4");
}

}  // namespace
}  // namespace troupe
