// Blocked attention with online softmax (Milakov and Gimelshein 2018; Dao 2023, FlashAttention-2). Logits are kept
// transposed, keys down and queries across: maxima, sums and masks of a query are then lane by lane, and exponentials
// come out as the B operand of the next product. One query block of logits is at most kKeyBlock x kQueryBlock.
//
// Numerics: logits and all sums in float32; with bf16 operands probabilities and logit gradients are rounded to bf16
// for the products they enter (nowhere else). Sums over keys and queries run in order, block by block.
#include "kernels/cpu/attention.h"

#include "kernels/cpu/block_product.h"
#include "kernels/cpu/pack_units.h"
#include "kernels/cpu/vec_dropout.h"
#include "kernels/cpu/vec_math.h"

namespace troupe::TROUPE_ISA_NAMESPACE {

extern const AttentionBlocks attention_kernels;

namespace {

constexpr float kLog2e = 1.44269504f;
constexpr float kMasked = -1e30f;  // a logit that no query attends to
constexpr float kLowest = -1e29f;  // running maxima start here: above kMasked, so that masked logits give 0

TROUPE_INLINE int64_t round_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }
TROUPE_INLINE int64_t min_of(int64_t a, int64_t b) { return a < b ? a : b; }

// 2^x for x <= 0. Masked logits are far below: a subnormal result, which the exponential would round theirs to, costs
// processors with AMX more than a hundred cycles.
TROUPE_INLINE Vec probability_of(Vec x) {
#if TROUPE_ISA_LEVEL >= 4
  const Vec smallest = broadcast(-126.0f);
  const Vec y = exp2_nonpositive(max(smallest, x));
  return x < smallest ? Vec{} : y;
#else
  return exp2_nonpositive(x);
#endif
}

// Consecutive arrays in a workspace, each on a 64-byte boundary; with nullptr it only counts.
class Arrays {
 public:
  explicit Arrays(void* base) : base_(static_cast<char*>(base)) {}
  template <class T>
  T* take(int64_t count) {
    T* array = base_ ? reinterpret_cast<T*>(base_ + used_) : nullptr;
    used_ += round_up(count * static_cast<int64_t>(sizeof(T)), 64);
    return array;
  }
  int64_t bytes() const { return used_; }

 private:
  char* base_;
  int64_t used_ = 0;
};

// ---- Probabilities and their gradients as operands

// Rows r .. r + kPair - 1 of probabilities or their gradients, as units across the lanes.
TROUPE_INLINE void store_units(float* dst, Vec first, Vec) { store(dst, first); }
TROUPE_INLINE void store_row(float* dst, Vec v) { store(dst, v); }
#if TROUPE_ISA_LEVEL >= 3  // below, bf16 is computed in float (Compute)
TROUPE_INLINE void store_units(bf16* dst, Vec first, Vec second) {
  const __m512i low = _mm512_cvtepu16_epi32(std::bit_cast<__m256i>(_mm512_cvtneps_pbh(std::bit_cast<__m512>(first))));
  const __m512i high = _mm512_cvtepu16_epi32(std::bit_cast<__m256i>(_mm512_cvtneps_pbh(std::bit_cast<__m512>(second))));
  const __m512i units = _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
  std::memcpy(static_cast<void*>(dst), &units, sizeof units);
}
TROUPE_INLINE void store_row(bf16* dst, Vec v) {
  const __m256bh half = _mm512_cvtneps_pbh(std::bit_cast<__m512>(v));
  std::memcpy(static_cast<void*>(dst), &half, sizeof half);
}
#endif

// ---- Masks

// Hides keys after their query in a block of logits whose first key is `key_offset` positions after its first query.
void mask_future(float* logits_KQ, int64_t num_keys, int64_t key_offset) {
  for (int64_t j = 0; j < num_keys; ++j) {
    const int64_t hidden = min_of(key_offset + j, kQueryBlock);  // queries before the key
    for (int64_t i = 0; i < hidden; ++i) logits_KQ[j * kQueryBlock + i] = kMasked;
  }
}

// Hides keys that have left their query's window.
void mask_past(float* logits_KQ, int64_t num_keys, int64_t key_offset, int64_t window) {
  for (int64_t j = 0; j < num_keys; ++j) {
    const int64_t first = key_offset + j + window;  // query that does not see the key any more
    for (int64_t i = first < 0 ? 0 : first; i < kQueryBlock; ++i) logits_KQ[j * kQueryBlock + i] = kMasked;
  }
}

// Hides keys from the queries of later texts.
void mask_ended(float* logits_KQ, int64_t num_keys, int64_t first_query, const int32_t* key_end) {
  for (int64_t j = 0; j < num_keys; ++j) {
    const int64_t first = key_end[j] - first_query;
    for (int64_t i = first < 0 ? 0 : first; i < kQueryBlock; ++i) logits_KQ[j * kQueryBlock + i] = kMasked;
  }
}

void mask_invalid(float* logits_KQ, int64_t num_keys, const uint8_t* key_valid) {
  for (int64_t j = 0; j < num_keys; ++j)
    if (!key_valid[j])
      for (int64_t i = 0; i < kQueryBlock; ++i) logits_KQ[j * kQueryBlock + i] = kMasked;
}

// Dropout factors of a block, keys down and queries across: element = row_i width + key. Four keys share one Philox
// counter where the rows start on a multiple of four.
void dropout_block(const Dropout& dropout, int64_t first_row, int64_t width, int64_t first_key, int64_t num_keys,
                   float* factors_KQ) {
  const DropoutFactor factor(dropout);
  const uint64_t row0 = static_cast<uint64_t>((dropout.first_row + first_row) * width + first_key);
  for (int64_t g = 0; g < kQueryBlock; g += kWidth) {
    uint64_t element[kWidth];  // of key first_key
    for (int i = 0; i < kWidth; ++i) element[i] = row0 + static_cast<uint64_t>((g + i) * width);
    const bool aligned = width % 4 == 0 && first_key % 4 == 0;
    for (int64_t j = 0; j < num_keys; j += aligned ? 4 : 1) {
      VecUint low, high, which;
      for (int i = 0; i < kWidth; ++i) {
        const uint64_t e = element[i] + static_cast<uint64_t>(j);
        low[i] = static_cast<uint32_t>(e >> 2);
        high[i] = static_cast<uint32_t>(e >> 34);
        which[i] = static_cast<uint32_t>(e & 3);
      }
      const PhiloxWords words = philox_vec(dropout.key, low, high);
      if (aligned) {
        for (int64_t w = 0; w < min_of(4, num_keys - j); ++w)
          store(factors_KQ + (j + w) * kQueryBlock + g, factor(words.word[w]));
      } else {
        VecUint word = words.word[3];
        for (uint32_t w = 0; w < 3; ++w) word = which == VecUint{} + w ? words.word[w] : word;
        store(factors_KQ + j * kQueryBlock + g, factor(word));
      }
    }
  }
}

// ---- Forward

struct SoftmaxState {  // of the queries of a block
  float* largest;      // of the logits so far, before scaling
  float* sum;          // of exp(scale (logit - largest))
};

// Takes a block of logits into the running softmax: probabilities (relative to the new maximum, with dropout factors if
// given) as the B operand of the product with the values; the sums of values so far are scaled to the new maximum.
template <class E>
void softmax_block(const float* logits_KQ, int64_t num_keys, float scale, const float* factors_KQ,
                   const SoftmaxState& state, E* p, float* sums_CQ, int64_t C) {
  const float scale2 = scale * kLog2e;
  for (int64_t g = 0; g < kQueryBlock; g += kWidth) {
    const float* logits = logits_KQ + g;
    const Vec before = load(state.largest + g);
    Vec largest = before;
    for (int64_t j = 0; j < num_keys; ++j) largest = max(largest, load(logits + j * kQueryBlock));
    const Vec shift = largest * scale2;
    Vec sum = Vec{};
    const auto probability = [&](int64_t j) {
      const Vec value = probability_of(load(logits + j * kQueryBlock) * scale2 - shift);
      sum += value;
      return factors_KQ ? value * load(factors_KQ + j * kQueryBlock + g) : value;
    };
    for (int64_t j = 0; j < num_keys; j += kPair<E>) {
      const Vec first = probability(j);
      if constexpr (kPair<E> == 2)
        store_units(p + (j / 2 * kQueryBlock + g) * 2, first, probability(j + 1));
      else
        store_units(p + j * kQueryBlock + g, first, first);
    }
    store(state.largest + g, largest);
    const Vec decay = probability_of((before - largest) * scale2);
    store(state.sum + g, load(state.sum + g) * decay + sum);
    if (max_lanes(1.0f - decay) != 0.0f)
      for (int64_t c = 0; c < C; ++c) store(sums_CQ + c * kQueryBlock + g, load(sums_CQ + c * kQueryBlock + g) * decay);
  }
}

template <class E>
struct ForwardArrays {
  E *k, *v, *q, *p;  // k [keys][width], v per key block [width][kKeyBlock], q [width / kPair][kQueryBlock] units, p
  float *logits, *factors, *sums, *largest, *sum, *gathered;
  int64_t bytes;

  ForwardArrays(void* base, int64_t num_keys, int64_t C) {
    const int64_t width = round_up(C, kBlockStep), keys = round_up(num_keys, kKeyBlock);
    Arrays arrays(base);
    k = arrays.take<E>(keys * width);
    v = arrays.take<E>(keys * width);
    q = arrays.take<E>(width * kQueryBlock);
    p = arrays.take<E>(kKeyBlock * kQueryBlock);
    logits = arrays.take<float>(kKeyBlock * kQueryBlock);
    factors = arrays.take<float>(kKeyBlock * kQueryBlock);
    sums = arrays.take<float>(width * kQueryBlock);
    largest = arrays.take<float>(kQueryBlock);
    sum = arrays.take<float>(kQueryBlock);
    gathered = arrays.take<float>(kKeyBlock * width);
    bytes = arrays.bytes();
  }
};

int64_t forward_workspace(int64_t num_keys, int64_t C) { return ForwardArrays<float>(nullptr, num_keys, C).bytes; }

// Which side of a segment.
template <class T>
using Side = Matrix<const T> KvSegment<T>::*;

// Calls rows(j, count, first, stride): keys or values j .. j + count - 1 of [begin, end), which lie together.
template <class T, class Rows>
TROUPE_INLINE void for_segments(const AttentionForwardTask<T>& t, Side<T> side, int64_t begin, int64_t end,
                                const Rows& rows) {
  int64_t first = 0;  // of the segment
  for (const KvSegment<T>* segment = t.past; begin < end; first += segment->k_LGC.rows, ++segment) {
    const Matrix<const T>& m = segment->*side;
    const int64_t count = min_of(end, first + m.rows) - begin;
    if (count <= 0) continue;
    rows(begin, count, m.data + (begin - first) * m.stride + t.kv_column, m.stride);
    begin += count;
  }
}

// A block of keys or values as rows that lie together; scratch takes one that lies in several segments.
template <class T>
Source<T> gather_block(const AttentionForwardTask<T>& t, Side<T> side, int64_t begin, int64_t count, T* scratch) {
  Source<T> block{scratch, t.C, count, t.C};
  for_segments(t, side, begin, begin + count, [&](int64_t j, int64_t n, const T* first, int64_t stride) {
    if (n == count) {
      block.data = first, block.stride = stride;
      return;
    }
    for (int64_t r = 0; r < n; ++r)
      for (int64_t c = 0; c < t.C; ++c) scratch[(j - begin + r) * t.C + c] = first[r * stride + c];
  });
  return block;
}

// The first key that the query at a position sees, and the block it is in.
TROUPE_INLINE int64_t first_key(int64_t position, int64_t window) {
  return position < window ? 0 : position - window + 1;
}
TROUPE_INLINE int64_t first_key_block(int64_t position, int64_t window) {
  return first_key(position, window) / kKeyBlock * kKeyBlock;
}

// ctx_i = sums_i / sum_i, lse_i = scale largest_i + log sum_i; a query that saw no key: 0 and -inf.
template <class T>
void write_context(const float* sums_CQ, const SoftmaxState& state, float scale, int64_t count, int64_t C, T* ctx,
                   int64_t ctx_stride, float* lse) {
  alignas(64) float inverse[kQueryBlock], log_sum[kQueryBlock];
  for (int64_t g = 0; g < kQueryBlock; g += kWidth) {
    const Vec sum = load(state.sum + g);
    store(inverse + g, sum == Vec{} ? Vec{} : 1.0f / sum);
    store(log_sum + g, load(state.largest + g) * scale + log(sum));
  }
  write_transposed(sums_CQ, kQueryBlock, inverse, count, C, ctx, ctx_stride);
  if (lse)
    for (int64_t i = 0; i < count; ++i) lse[i] = log_sum[i];
}

template <class T>
void forward(const AttentionForwardTask<T>& t) {
  using E = Compute<T>;
  const BlockProductScope scope;
  const int64_t width = round_up(t.C, kBlockStep);
  const int64_t num_keys = t.first_position + t.query_end;
  const ForwardArrays<E> a(t.workspace, num_keys, t.C);
  for (int64_t j = first_key_block(t.first_position + t.query_begin, t.window); j < num_keys; j += kKeyBlock) {
    const int64_t count = min_of(kKeyBlock, num_keys - j);
    T* scratch = reinterpret_cast<T*>(a.gathered);
    pack_rows<E>(gather_block(t, &KvSegment<T>::k_LGC, j, count, scratch), kKeyBlock, width, a.k + j * width);
    pack_transposed<E>(gather_block(t, &KvSegment<T>::v_LGC, j, count, scratch), kKeyBlock, width, a.v + j * width);
  }
  const SoftmaxState state{a.largest, a.sum};
  for (int64_t i = t.query_begin; i < t.query_end; i += kQueryBlock) {
    const int64_t count = min_of(kQueryBlock, t.query_end - i), position = t.first_position + i;
    pack_pairs_of_columns<E>(Source<T>{t.q.data + i * t.q.stride, t.q.stride, count, t.C}, kQueryBlock, width, a.q);
    for (int64_t g = 0; g < kQueryBlock; ++g) a.largest[g] = kLowest, a.sum[g] = 0.0f;
    for (int64_t x = 0; x < width * kQueryBlock; ++x) a.sums[x] = 0.0f;
    for (int64_t j = first_key_block(position, t.window); j < position + count; j += kKeyBlock) {
      if (t.key_end && t.key_end[min_of(j + kKeyBlock, num_keys) - 1] <= position) continue;  // texts that ended before
      block_product<E>(kKeyBlock, kQueryBlock, width, a.k + j * width, width, a.q, kQueryBlock, a.logits, kQueryBlock,
                       false);
      if (j + kKeyBlock > position) mask_future(a.logits, kKeyBlock, j - position);
      if (position + count > j + t.window) mask_past(a.logits, kKeyBlock, j - position, t.window);
      if (t.key_valid) mask_invalid(a.logits, min_of(kKeyBlock, num_keys - j), t.key_valid + j);
      if (t.key_end) mask_ended(a.logits, min_of(kKeyBlock, num_keys - j), position, t.key_end + j);
      const bool dropout = t.dropout.probability > 0.0f;
      if (dropout) dropout_block(t.dropout, t.dropout_row + i, t.dropout_width, j, kKeyBlock, a.factors);
      softmax_block<E>(a.logits, kKeyBlock, t.scale, dropout ? a.factors : nullptr, state, a.p, a.sums, width);
      block_product<E>(width, kQueryBlock, kKeyBlock, a.v + j * width, kKeyBlock, a.p, kQueryBlock, a.sums, kQueryBlock,
                       true);
    }
    write_context(a.sums, state, t.scale, count, t.C, t.ctx + i * t.ctx_stride, t.ctx_stride,
                  t.lse ? t.lse + i : nullptr);
  }
}

// Query by query: logits in one pass over the keys, sums in one pass over the values, every row read as it lies.
template <class T>
void forward_few(const AttentionForwardTask<T>& t) {
  for (int64_t i = t.query_begin; i < t.query_end; ++i) {
    const T* q = t.q.data + i * t.q.stride;
    const int64_t end = t.first_position + i + 1, begin = first_key(end - 1, t.window);
    float* p = static_cast<float*>(t.workspace);  // of keys begin, ...
    Vec largest = broadcast(kLowest);
    for_segments(t, &KvSegment<T>::k_LGC, begin, end, [&](int64_t j, int64_t count, const T* k, int64_t stride) {
      for (int64_t r = j - begin; r < j - begin + count; ++r, k += stride) {
        Vec sum = Vec{};
        for_vectors(t.C, [&](int64_t c, int64_t n) { sum += load_n(q + c, n) * load_n(k + c, n); });
        p[r] = sum_lanes(sum) * t.scale;
        largest = max(largest, broadcast(p[r]));
      }
    });
    Vec total = Vec{};
    for_vectors(end - begin, [&](int64_t j, int64_t n) {
      const Vec lane = lane_numbers();
      Vec value = exp_nonpositive(load_n(p + j, n) - largest);
      value = lane < broadcast(static_cast<float>(n)) ? value : Vec{};
      total += value;
      store_n(p + j, value, n);
    });
    const float inverse = 1.0f / sum_lanes(total);
    T* ctx = t.ctx + i * t.ctx_stride;
    constexpr int64_t kVectors = 4;
    for (int64_t c = 0; c < t.C; c += kVectors * kWidth) {
      Vec sum[kVectors] = {};
      for_segments(t, &KvSegment<T>::v_LGC, begin, end, [&](int64_t j, int64_t count, const T* v, int64_t stride) {
        for (int64_t r = j - begin; r < j - begin + count; ++r, v += stride) {
          const Vec weight = broadcast(p[r]);
          for (int64_t x = 0; x < kVectors; ++x) {
            const int64_t left = t.C - c - x * kWidth;
            if (left > 0) sum[x] += weight * load_n(v + c + x * kWidth, min_of(left, kWidth));
          }
        }
      });
      for (int64_t x = 0; x < kVectors; ++x) {
        const int64_t left = t.C - c - x * kWidth;
        if (left > 0) store_n(ctx + c + x * kWidth, sum[x] * inverse, min_of(left, kWidth));
      }
    }
  }
}

// ---- Backward

template <class E>
struct BackwardArrays {
  // Of all positions, block by block: keys and values as A operands; keys transposed; queries and gradients of the
  // context as B operands that sum over columns (qc, dc) and over rows (qr, dr).
  E *k, *v, *kt, *qc, *dc, *qr, *dr;
  float *lse2, *delta, *dq;  // dq per block [width][kQueryBlock]
  // Of one block
  float *logits, *dp, *factors, *dk, *dv;
  E *p, *ds, *ds_units;  // p, ds [key][query] as A operands; ds as B operand
  int64_t bytes;

  BackwardArrays(void* base, int64_t S, int64_t C) {
    const int64_t width = round_up(C, kBlockStep), rows = round_up(S, kQueryBlock), all = rows * width;
    Arrays arrays(base);
    for (E** array : {&k, &v, &kt, &qc, &dc, &qr, &dr}) *array = arrays.take<E>(all);
    lse2 = arrays.take<float>(rows);
    delta = arrays.take<float>(rows);
    dq = arrays.take<float>(all);
    for (float** array : {&logits, &dp, &factors}) *array = arrays.take<float>(kKeyBlock * kQueryBlock);
    for (float** array : {&dk, &dv}) *array = arrays.take<float>(kKeyBlock * width);
    for (E** array : {&p, &ds, &ds_units}) *array = arrays.take<E>(kKeyBlock * kQueryBlock);
    bytes = arrays.bytes();
  }
};

int64_t backward_workspace(int64_t S, int64_t C) { return BackwardArrays<float>(nullptr, S, C).bytes; }

// p = exp(scale logit - lse), ds = p (factor dp - delta), in the three layouts that the products want.
template <class E>
void softmax_backward_block(const BackwardArrays<E>& a, const float* lse2, const float* delta, float scale,
                            bool dropout) {
  const float scale2 = scale * kLog2e;
  for (int64_t j = 0; j < kKeyBlock; j += kPair<E>)
    for (int64_t g = 0; g < kQueryBlock; g += kWidth) {
      const Vec shift = load(lse2 + g), mean = load(delta + g);
      const auto gradient = [&](int64_t row) {
        const int64_t at = row * kQueryBlock + g;
        const Vec probability = probability_of(load(a.logits + at) * scale2 - shift);
        Vec dp = load(a.dp + at), weighted = probability;
        if (dropout) {
          const Vec factor = load(a.factors + at);
          dp = dp * factor;
          weighted = weighted * factor;
        }
        store_row(a.p + at, weighted);
        const Vec ds = probability * (dp - mean);
        store_row(a.ds + at, ds);
        return ds;
      };
      const Vec first = gradient(j);
      if constexpr (kPair<E> == 2)
        store_units(a.ds_units + (j / 2 * kQueryBlock + g) * 2, first, gradient(j + 1));
      else
        store_units(a.ds_units + j * kQueryBlock + g, first, first);
    }
}

template <class T>
void pack_backward(const AttentionBackwardTask<T>& t, const BackwardArrays<Compute<T>>& a, int64_t width) {
  using E = Compute<T>;
  const int64_t S = t.q.count;
  for (int64_t i = 0; i < S; i += kQueryBlock) {
    const int64_t count = min_of(kQueryBlock, S - i), at = i * width;
    const auto source = [&](const HeadRows<T>& rows) {
      return Source<T>{rows.data + i * rows.stride, rows.stride, count, t.C};
    };
    const T *ctx = source(t.ctx).data, *dctx = source(t.dctx).data;
    pack_rows<E>(source(t.k), kKeyBlock, width, a.k + at);
    pack_rows<E>(source(t.v), kKeyBlock, width, a.v + at);
    pack_transposed<E>(source(t.k), kKeyBlock, width, a.kt + at);
    pack_pairs_of_columns<E>(source(t.q), kQueryBlock, width, a.qc + at);
    pack_pairs_of_columns<E>(source(t.dctx), kQueryBlock, width, a.dc + at);
    pack_pairs_of_rows<E>(source(t.q), kQueryBlock, width, a.qr + at);
    pack_pairs_of_rows<E>(source(t.dctx), kQueryBlock, width, a.dr + at);
    for (int64_t r = 0; r < kQueryBlock; ++r) {
      float lse2 = 0.0f, delta = 0.0f;
      if (r < count) {
        Vec sum = Vec{};
        for_vectors(t.C, [&](int64_t c, int64_t n) {
          sum += load_n(ctx + r * t.ctx.stride + c, n) * load_n(dctx + r * t.dctx.stride + c, n);
        });
        delta = sum_lanes(sum);
        lse2 = t.lse[i + r] * kLog2e;
        if (lse2 == -__builtin_inff()) lse2 = 0.0f;  // saw no key: all its logits are masked
      }
      a.lse2[i + r] = lse2;
      a.delta[i + r] = delta;
    }
  }
}

template <class T>
void write_rows(const float* rows, int64_t width, float factor, int64_t count, int64_t C, T* out, int64_t stride) {
  for (int64_t r = 0; r < count; ++r)
    for_vectors(
        C, [&](int64_t c, int64_t n) { store_n(out + r * stride + c, load(rows + r * width + c) * factor, n); });
}

template <class T>
void backward(const AttentionBackwardTask<T>& t) {
  using E = Compute<T>;
  const BlockProductScope scope;
  const int64_t S = t.q.count, width = round_up(t.C, kBlockStep), rows = round_up(S, kQueryBlock);
  const bool dropout = t.dropout.probability > 0.0f;
  const BackwardArrays<E> a(t.workspace, S, t.C);
  pack_backward(t, a, width);
  for (int64_t x = 0; x < rows * width; ++x) a.dq[x] = 0.0f;
  for (int64_t j = 0; j < S; j += kKeyBlock) {
    for (int64_t x = 0; x < kKeyBlock * width; ++x) a.dk[x] = a.dv[x] = 0.0f;
    const int64_t count = min_of(kKeyBlock, S - j);
    const int64_t last_end = t.key_end ? t.key_end[j + count - 1] : S;
    for (int64_t i = j; i < min_of(last_end, j + kKeyBlock - 1 + t.window); i += kQueryBlock) {
      const int64_t at = i * width;
      block_product<E>(kKeyBlock, kQueryBlock, width, a.k + j * width, width, a.qc + at, kQueryBlock, a.logits,
                       kQueryBlock, false);
      block_product<E>(kKeyBlock, kQueryBlock, width, a.v + j * width, width, a.dc + at, kQueryBlock, a.dp, kQueryBlock,
                       false);
      if (i == j) mask_future(a.logits, kKeyBlock, 0);
      if (min_of(S, i + kQueryBlock) > j + t.window) mask_past(a.logits, kKeyBlock, j - i, t.window);
      if (t.key_valid) mask_invalid(a.logits, count, t.key_valid + j);
      if (t.key_end) mask_ended(a.logits, count, i, t.key_end + j);
      if (dropout) dropout_block(t.dropout, t.dropout_row + i, t.dropout_width, j, kKeyBlock, a.factors);
      softmax_backward_block<E>(a, a.lse2 + i, a.delta + i, t.scale, dropout);
      block_product<E>(kKeyBlock, width, kQueryBlock, a.p, kQueryBlock, a.dr + at, width, a.dv, width, true);
      block_product<E>(kKeyBlock, width, kQueryBlock, a.ds, kQueryBlock, a.qr + at, width, a.dk, width, true);
      block_product<E>(width, kQueryBlock, kKeyBlock, a.kt + j * width, kKeyBlock, a.ds_units, kQueryBlock, a.dq + at,
                       kQueryBlock, true);
    }
    if (t.dk_part) {
      write_rows(a.dk, width, t.scale, count, t.C, t.dk_part + j * t.C, t.C);
      write_rows(a.dv, width, 1.0f, count, t.C, t.dv_part + j * t.C, t.C);
    } else {
      write_rows(a.dk, width, t.scale, count, t.C, t.dk + j * t.dk_stride, t.dk_stride);
      write_rows(a.dv, width, 1.0f, count, t.C, t.dv + j * t.dv_stride, t.dv_stride);
    }
  }
  alignas(64) float scale[kQueryBlock];
  for (float& factor : scale) factor = t.scale;
  for (int64_t i = 0; i < S; i += kQueryBlock)
    write_transposed(a.dq + i * width, kQueryBlock, scale, min_of(kQueryBlock, S - i), t.C, t.dq + i * t.dq_stride,
                     t.dq_stride);
}

}  // namespace

const AttentionBlocks attention_kernels = {forward_workspace,  backward_workspace, forward<float>,  forward<bf16>,
                                           forward_few<float>, forward_few<bf16>,  backward<float>, backward<bf16>};

}  // namespace troupe::TROUPE_ISA_NAMESPACE
