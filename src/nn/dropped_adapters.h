// Low-rank adapters A [r, K] and B [N, r] of a matrix W whose inputs are dropped in training (lora_dropout of PEFT). So
// they are no sum with W (nn/lora.h) but products beside its own:
//
//   x' = s dropout(x) [R, K],   u = x' A^T [R, r],   y = x W^T + b + u B^T
//   du = dy B [R, r],   dA += du^T x',   dB += dy^T u,   dx = dy W + s dropout'(du A)
//
// Rows are tokens, so this is no way for experts. A mask is a function of pass, matrix, token and column, and x' and u
// are made again on the way back. x', u and du are rounded to the operand type, as any input of a product.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "nn/run_mode.h"
#include "ops/linear.h"
#include "tensor/buffer.h"

namespace troupe {

// Of N rows of a map's output, from the first on. What it points to must outlive it.
template <class real>
struct DroppedAdapter {
  int64_t first_row = 0, rows = 0, rank = 0;
  const real* a = nullptr;         // A
  const real* a_turned = nullptr;  // (s A)^T [K, r]
  const real* b = nullptr;         // B
  real* da = nullptr;              // added to
  real* db = nullptr;
  double scale = 1.0, probability = 0.0;
  uint64_t key = 0;  // of the matrix
  Buffer<std::byte>* room = nullptr;  // to work in, grown as needed
};

// All of a linear map, with the map's own weights W and bias.
template <class P>
class DroppedAdapters {
 public:
  using real = typename P::real;
  using operand = typename P::operand;

  DroppedAdapters() = default;  // none
  DroppedAdapters(LinearBank<P> map, std::vector<DroppedAdapter<real>> adapters)
      : map_(std::move(map)), adapters_(std::move(adapters)) {}

  bool empty() const { return adapters_.empty(); }

  // What LinearForward and LinearBackwardInput are to maps without adapters.
  void forward(Matrix<const operand> x, const RunMode& mode, const ForwardEpilogue<P>& epilogue) const;
  void backward_input(Matrix<const operand> dy, const RunMode& mode, const BackwardEpilogue<P>& epilogue) const;
  // Adds to dA and dB.
  void add_gradients(Matrix<const operand> dy, Matrix<const operand> x, const RunMode& mode) const;

 private:
  struct Room {
    Matrix<operand> dropped, u, du;
    Matrix<real> sums;
  };
  // For as many rows; sums are of a row each.
  Room room_for(int64_t rows, int64_t rank, int64_t sums) const;
  // u of `room`, by x' of it.
  void multiply_dropped(const DroppedAdapter<real>& adapter, Matrix<const operand> x, const RunMode& mode,
                        const Room& room) const;
  // du of `room`.
  void turn_back(const DroppedAdapter<real>& adapter, Matrix<const operand> dy, const Room& room) const;

  LinearBank<P> map_;
  std::vector<DroppedAdapter<real>> adapters_;
};

extern template class DroppedAdapters<F64>;
extern template class DroppedAdapters<F32>;
extern template class DroppedAdapters<Bf16>;

}  // namespace troupe
