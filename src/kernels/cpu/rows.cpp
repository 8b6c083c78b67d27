#include "kernels/cpu/rows.h"

#include "kernels/cpu/vec_dropout.h"
#include "kernels/cpu/vec_math.h"

namespace troupe::TROUPE_ISA_NAMESPACE {

extern const RowKernels rows_kernels;

namespace {

void embedding_forward(const int32_t* tokens_T, const int32_t* positions_T, Matrix<const float> embed_VD,
                       Matrix<const float> positions_PD, float scale, const Dropout& dropout, int64_t begin,
                       int64_t end, Matrix<float> x_TD) {
  for (int64_t t = begin; t < end; ++t) {
    const float* token = embed_VD.data + tokens_T[t] * embed_VD.stride;
    float* x = x_TD.data + t * x_TD.stride;
    if (!positions_PD.data) {
      for_dropped_vectors(
          dropout, element_of(dropout, t, 0, x_TD.cols), x_TD.cols,
          [&](int64_t d, int64_t n, Vec factor) { store_n(x + d, load_n(token + d, n) * scale * factor, n); });
      continue;
    }
    const float* position = positions_PD.data + positions_T[t] * positions_PD.stride;
    for_dropped_vectors(dropout, element_of(dropout, t, 0, x_TD.cols), x_TD.cols,
                        [&](int64_t d, int64_t n, Vec factor) {
                          store_n(x + d, (load_n(token + d, n) * scale + load_n(position + d, n)) * factor, n);
                        });
  }
}

void scatter_add(const int32_t* ids_T, int64_t skip, int64_t part, int64_t num_parts, float scale,
                 const Dropout& dropout, Matrix<const float> dx_TD, Matrix<float> table) {
  for (int64_t t = 0; t < dx_TD.rows; ++t) {
    const int64_t id = ids_T[t];
    if (id % num_parts != part || id == skip) continue;
    const float* dx = dx_TD.data + t * dx_TD.stride;
    float* row = table.data + id * table.stride;
    for_dropped_vectors(dropout, element_of(dropout, t, 0, dx_TD.cols), dx_TD.cols,
                        [&](int64_t d, int64_t n, Vec factor) {
                          store_n(row + d, load_n(row + d, n) + scale * (load_n(dx + d, n) * factor), n);
                        });
  }
}

template <class From, class T>
void dropout_rows(Matrix<const From> dx, const Dropout& dropout, int64_t begin, int64_t end, Matrix<T> dy) {
  for (int64_t t = begin; t < end; ++t) {
    const From* from = dx.data + t * dx.stride;
    T* to = dy.data + t * dy.stride;
    for_dropped_vectors(dropout, element_of(dropout, t, 0, dx.cols), dx.cols,
                        [&](int64_t d, int64_t n, Vec factor) { store_n(to + d, load_n(from + d, n) * factor, n); });
  }
}

// Pieces stay in the L1 cache for their maximum and their sum, so a long row is read from memory once.
float log_sum_exp(const float* logits, int64_t count) {
  constexpr int64_t kPiece = 2048;
  float largest = -__builtin_inff();
  double total = 0.0;  // of exp(logit - largest)
  for (int64_t begin = 0; begin < count; begin += kPiece) {
    const float* piece = logits + begin;
    const int64_t size = count - begin < kPiece ? count - begin : kPiece;
    Vec piece_largest = broadcast(largest);
    for_vectors(size, [&](int64_t v, int64_t n) {
      Vec value = load_n(piece + v, n);
      if (n < kWidth) value = lane_numbers() < broadcast(static_cast<float>(n)) ? value : piece_largest;
      piece_largest = max(piece_largest, value);
    });
    const float before = largest;
    largest = max_lanes(piece_largest);
    const float shift = largest == -__builtin_inff() ? 0.0f : largest;
    Vec sum = Vec{};
    for_vectors(size, [&](int64_t v, int64_t n) {
      Vec value = exp_nonpositive(load_n(piece + v, n) - shift);
      if (n < kWidth) value = lane_numbers() < broadcast(static_cast<float>(n)) ? value : Vec{};
      sum += value;
    });
    total = total * exp_nonpositive(broadcast(before - shift))[0] + sum_lanes(sum);
  }
  return largest + static_cast<float>(__builtin_log(total));
}

int64_t argmax(const float* values, int64_t count) {
  Vec largest = broadcast(-__builtin_inff());
  for_vectors(count, [&](int64_t v, int64_t n) {
    Vec value = load_n(values + v, n);
    if (n < kWidth) value = lane_numbers() < broadcast(static_cast<float>(n)) ? value : largest;
    largest = value > largest ? value : largest;
  });
  const float wanted = max_lanes(largest);
  for (int64_t v = 0; v < count; ++v)
    if (values[v] == wanted) return v;
  return 0;
}

template <class T>
void softmax(const float* logits, float lse, int64_t count, T* dlogits) {
  for_vectors(
      count, [=](int64_t v, int64_t n) __attribute__((always_inline)) {
        store_n(dlogits + v, exp_nonpositive(load_n(logits + v, n) - lse), n);
      });
}

}  // namespace

const RowKernels rows_kernels = {embedding_forward,
                                 scatter_add,
                                 dropout_rows<float, float>,
                                 dropout_rows<float, bf16>,
                                 dropout_rows<bf16, bf16>,
                                 log_sum_exp,
                                 argmax,
                                 softmax<float>,
                                 softmax<bf16>};

}  // namespace troupe::TROUPE_ISA_NAMESPACE
