// What causal attention is asked to compute; shared by the op and its kernels.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/dropout.h"
#include "tensor/matrix.h"

namespace troupe {

struct AttentionShape {
  int64_t B = 0, S = 0, H = 0, C = 0;
  double scale = 1.0;  // C^-0.5
  // [B, S], 0 for a key that no query may attend to (padding); empty if every key is valid. A query without any valid
  // key at or before it gets a zero context.
  std::span<const uint8_t> key_valid;
  // Mask element: row ((b * H + h) * S + i) (first_row counts those), column j, width S.
  Dropout dropout;

  bool valid(int64_t b, int64_t j) const { return key_valid.empty() || key_valid[static_cast<size_t>(b * S + j)] != 0; }
};

// New positions of one sequence against its cached keys and values. The N queries are the last N of all positions; the
// keys are `shared` rows (which several sequences may have in common, e.g. a prompt) followed by `own` rows, the new
// ones included: query n attends to the first (shared + own) - N + n + 1 keys.
template <class P>
struct DecodeSequence {
  using operand = typename P::operand;

  Matrix<const operand> q_ND;                      // [N, D], before scaling
  Matrix<const operand> shared_k_LD, shared_v_LD;  // [L0, D], may be empty
  Matrix<const operand> k_LD, v_LD;                // [L1, D], L0 + L1 >= N
  Matrix<operand> ctx_ND;                          // [N, D], overwritten

  int64_t num_keys() const { return shared_k_LD.rows + k_LD.rows; }
  const operand* key(int64_t j) const {
    return j < shared_k_LD.rows ? shared_k_LD.row(j) : k_LD.row(j - shared_k_LD.rows);
  }
  const operand* value(int64_t j) const {
    return j < shared_v_LD.rows ? shared_v_LD.row(j) : v_LD.row(j - shared_v_LD.rows);
  }
};

}  // namespace troupe
