// Attention of one head of one sequence, blocked: no more than kQueryBlock x kKeyBlock logits exist at a time.
#pragma once

#include <cstdint>

#include "kernels/dropout.h"
#include "kernels/kv_segment.h"
#include "tensor/bf16.h"

namespace troupe {

constexpr int64_t kQueryBlock = 64, kKeyBlock = 64;

// `count` rows, `stride` elements apart, pointing at the head's first column.
template <class T>
struct HeadRows {
  const T* data = nullptr;
  int64_t count = 0, stride = 0;
};

// Queries [query_begin, query_end) of the head; query i has position first_position + i and sees the last `window` keys
// up to its own. Bits do not depend on how the keys are cut into segments.
template <class T>
struct AttentionForwardTask {
  HeadRows<T> q;
  const KvSegment<T>* past;  // as many as hold the keys up to the last query's
  int64_t kv_column;         // the head's first column in them
  int64_t C, first_position, query_begin, query_end;
  int64_t window;            // 1 to the number of keys, which hides none
  float scale;               // > 0
  const uint8_t* key_valid;  // of every key, or nullptr
  const int32_t* key_end;    // of every key the first query that sees it no more, or nullptr
  Dropout dropout;
  int64_t dropout_row, dropout_width;  // of query 0
  T* ctx;                              // row of query 0, head's first column
  int64_t ctx_stride;
  float* lse;       // of query 0, or nullptr
  void* workspace;  // forward_workspace bytes, 64-byte aligned
};

template <class T>
struct AttentionBackwardTask {
  HeadRows<T> q, k, v, ctx, dctx;
  int64_t C, window;  // 1 to the number of keys
  float scale;
  const uint8_t* key_valid;
  const int32_t* key_end;
  const float* lse;
  Dropout dropout;
  int64_t dropout_row, dropout_width;
  T *dq, *dk, *dv;
  int64_t dq_stride, dk_stride, dv_stride;
  float *dk_part, *dv_part;  // [keys, C]: written in place of dk and dv where other heads share the keys; or nullptr
  void* workspace;  // backward_workspace bytes, 64-byte aligned
};

struct AttentionBlocks {
  int64_t (*forward_workspace)(int64_t num_keys, int64_t C);
  int64_t (*backward_workspace)(int64_t S, int64_t C);
  void (*forward_f32)(const AttentionForwardTask<float>& task);
  void (*forward_bf16)(const AttentionForwardTask<bf16>& task);
  // For few queries: reads every key and value once, as they lie; no dropout, no key_valid, no lse.
  // The workspace holds one float for every key.
  void (*forward_few_f32)(const AttentionForwardTask<float>& task);
  void (*forward_few_bf16)(const AttentionForwardTask<bf16>& task);
  void (*backward_f32)(const AttentionBackwardTask<float>& task);
  void (*backward_bf16)(const AttentionBackwardTask<bf16>& task);
};

}  // namespace troupe
