#include "eval/windows.h"

#include <algorithm>
#include <bit>
#include <numeric>
#include <random>

#include "base/error.h"

namespace troupe {
namespace {

void slide(int64_t first, int64_t last, int64_t context, int64_t stride, std::vector<Window>& windows) {
  for (int64_t scored = first; scored < last;) {
    const int64_t end = std::min(last, scored == first ? first + context : scored + stride);
    const int64_t begin = stride == context ? scored : std::max(first, end - context);
    windows.push_back({begin, scored, end, begin == first});
    scored = end;
  }
}

// numpy's legacy random.permutation: Fisher-Yates from the end, indices by rejection under a bit mask.
std::vector<int64_t> numpy_permutation(int64_t n, uint32_t seed) {
  std::mt19937 generator(seed);
  std::vector<int64_t> values(static_cast<size_t>(n));
  std::iota(values.begin(), values.end(), 0);
  for (uint32_t i = static_cast<uint32_t>(n); i-- > 1;) {
    const uint32_t mask = std::bit_ceil(i + 1) - 1;
    uint32_t j;
    do j = static_cast<uint32_t>(generator()) & mask;
    while (j > i);
    std::swap(values[i], values[j]);
  }
  return values;
}

}  // namespace

std::vector<Window> cut_windows(const EvalText& text, WindowMode mode, int64_t context, int64_t stride) {
  if (context < 1) fail(ErrorCode::kUsage, "--context: expected at least 1 token, got {}", context);
  if (stride < 1 || stride > context)
    fail(ErrorCode::kUsage, "--stride: expected 1 to {} tokens (--context), got {}", context, stride);
  std::vector<Window> windows;
  if (mode == WindowMode::kDocuments) {
    for (size_t document = 0; document + 1 < text.begin.size(); ++document)
      slide(text.begin[document], text.begin[document + 1], context, stride, windows);
  } else {
    slide(0, text.tokens(), context, mode == WindowMode::kBlocks ? context : stride, windows);
  }
  return windows;
}

std::vector<Window> cut_fairseq_windows(int64_t tokens, int64_t context, int64_t context_window) {
  if (context_window < 0 || context_window >= context)
    fail(ErrorCode::kUsage, "--context-window: expected 0 to {} tokens (less than --context), got {}", context - 1,
         context_window);
  const int64_t block = context - context_window;
  std::vector<Window> windows;
  for (int64_t scored = 0; scored < tokens; scored += block) {
    const int64_t begin = std::max<int64_t>(0, scored - context_window);
    windows.push_back({begin, scored, std::min(tokens, scored + block), begin == 0});
  }
  return windows;
}

std::vector<int64_t> fairseq_order(std::span<const Window> windows, uint32_t seed) {
  const auto n = static_cast<int64_t>(windows.size());
  const std::vector<int64_t> rank = numpy_permutation(n, seed);
  std::vector<int64_t> order(windows.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    const int64_t length_a = windows[static_cast<size_t>(a)].length(),
                  length_b = windows[static_cast<size_t>(b)].length();
    return length_a != length_b ? length_a < length_b : rank[static_cast<size_t>(a)] < rank[static_cast<size_t>(b)];
  });
  return order;
}

}  // namespace troupe
