// What causal attention is asked to compute; shared by the op and its kernels.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "base/error.h"
#include "kernels/dropout.h"
#include "kernels/kv_segment.h"
#include "tensor/matrix.h"

namespace troupe {

// H heads of queries of width C. G heads of keys and values: every H / G query heads, one after the other, share one
// (G = H: each its own; G < H: grouped-query attention, Ainslie et al. 2023; G = 1: multi-query, Shazeer 2019).
struct AttentionHeads {
  int64_t H = 0, G = 0, C = 0;  // G divides H
  double scale = 1.0;           // of logits
  int64_t window = 0;           // query i sees key j only if i - j < window; 0: every key up to its own position

  int64_t kv_head(int64_t h) const {
    TROUPE_ASSERT(G > 0 && H % G == 0);
    return h / (H / G);
  }
  int64_t first_key(int64_t position) const { return window > 0 ? std::max<int64_t>(0, position - window + 1) : 0; }
};

template <class T>
struct QueryKeyValue {
  Matrix<T> q_THC, k_TGC, v_TGC;  // [T, H C], [T, G C]; may be columns of one matrix
};

struct AttentionShape {
  int64_t B = 0, S = 0;
  AttentionHeads heads;
  // [B, S], 0 for a key that no query may attend to (padding); empty if every key is valid. A query without any valid
  // key that it may see gets a zero context.
  std::span<const uint8_t> key_valid;
  // [B, S]: the first query of the sequence that sees a key no more, since another text begins there. Ascending within
  // a sequence; empty: none does.
  std::span<const int32_t> key_end = {};
  // Mask element: row ((b * H + h) * S + i) (first_row counts those), column j, width S.
  Dropout dropout;

  bool valid(int64_t b, int64_t j) const { return key_valid.empty() || key_valid[static_cast<size_t>(b * S + j)] != 0; }
  // Whether query i of sequence b sees key j of its window.
  bool sees(int64_t b, int64_t i, int64_t j) const {
    return valid(b, j) && (key_end.empty() || i < key_end[static_cast<size_t>(b * S + j)]);
  }
};

// New positions of one sequence against its cached keys and values. The N queries are the last N of all positions: with
// L keys, query n has position L - N + n.
template <class P>
struct DecodeSequence {
  using operand = typename P::operand;

  Matrix<const operand> q_NHC;               // [N, H C], before scaling
  std::span<const KvSegment<operand>> past;  // in order, those of the new positions included: L >= N rows
  Matrix<operand> ctx_NHC;                   // [N, H C], overwritten

  int64_t num_keys() const {
    int64_t rows = 0;
    for (const KvSegment<operand>& segment : past) rows += segment.k_LGC.rows;
    return rows;
  }
};

}  // namespace troupe
