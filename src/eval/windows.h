// How a token stream is cut into sequences for scoring: which tokens each sequence sees and which of them it scores.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "eval/eval_text.h"
#include "troupe/fields.h"

namespace troupe {

// Predicts tokens [begin, end) of the stream, of which [scored, end) count. Inputs are the same tokens shifted right:
// token begin - 1 comes first, or end-of-text where the stream or (documents) the document starts.
struct Window {
  int64_t begin = 0, scored = 0, end = 0;
  bool starts_document = false;  // the first input is end-of-text
  int64_t length() const { return end - begin; }
  bool operator==(const Window&) const = default;
};

enum class WindowMode {
  kBlocks,     // the whole stream in blocks of `context`; the first tokens of a block see few others
  kSliding,    // windows of `context` that move by `stride`; each token is scored once, after context - stride others
  kDocuments,  // each document on its own, longer ones sliding by `stride`
};
template <>
struct EnumNames<WindowMode> {
  static constexpr std::array<std::pair<std::string_view, WindowMode>, 3> values = {
      {{"blocks", WindowMode::kBlocks}, {"sliding", WindowMode::kSliding}, {"documents", WindowMode::kDocuments}}};
};

// Every token of the stream is in the scored part of exactly one window, in order. 1 <= stride <= context; windows
// overlap if stride < context.
std::vector<Window> cut_windows(const EvalText& text, WindowMode mode, int64_t context, int64_t stride);

// fairseq's eval_lm with --context-window c (0: none): blocks of context - c tokens, each with up to c tokens in front
// that are not scored (data/lm_context_window_dataset.py).
std::vector<Window> cut_fairseq_windows(int64_t tokens, int64_t context, int64_t context_window);

// The order in which fairseq puts equally long blocks into batches: by length, ties by numpy's
// `random.seed(seed); random.permutation(n)` (data/monolingual_dataset.py, ordered_indices; seed 1 in eval_lm).
std::vector<int64_t> fairseq_order(std::span<const Window> windows, uint32_t seed = 1);

}  // namespace troupe
