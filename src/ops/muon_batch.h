// Newton and Schulz' iteration of a Muon update (ops/muon.h), on the device whose passes it is given: the products are
// those of ops/linear.h.
#pragma once

#include <algorithm>

#include "ops/elementwise.h"
#include "ops/muon.h"

namespace troupe {

constexpr int64_t kMuonPiece = 1 << 14;  // elements of a pass at a time; the cut of the sum

// The products of one batch: X [E, rows, cols] in the workspace, s the smaller side. Passes, of a device:
//   kDevice
//   momentum(task, workspace)                         X = u / |u|, matrix by matrix
//   blend(alpha, x, beta, z, size, y)                 y = alpha x + beta z
//   round(values, size, room)                         as operands, in place and in `room`
template <class P, class Passes>
class MuonBatch {
 public:
  using operand = typename P::operand;
  static constexpr bool kRounds = MuonWorkspace<P>::kRounds;

  MuonBatch(const MuonUpdate<P>& task, MuonWorkspace<P>& workspace, Context& context)
      : task_(task),
        w_(workspace),
        context_(context),
        E_(task.count),
        rows_(task.rows),
        cols_(task.cols),
        s_(std::min(task.rows, task.cols)),
        size_(task.count * task.rows * task.cols) {
    w_.reserve(E_, rows_, cols_);
    for (int64_t e = 0; e <= E_; ++e) w_.offsets[e] = e * rows_, w_.small_offsets[e] = e * s_;
  }

  void run() {
    passes_.momentum(task_, w_);
    for (int64_t n = 0; n < task_.step.iterations; ++n) iterate();
    const auto decay = static_cast<float>(1.0 - task_.step.weight_decay * task_.step.lr);
    const auto rate = static_cast<float>(task_.step.lr * muon_scale(rows_, cols_));
    passes_.blend(decay, task_.p.data(), -rate, w_.x.data(), size_, task_.p.data());
  }

 private:
  // `values` as inputs of a product: themselves, or rounded, here and in `room`.
  const operand* as_operands(float* values, int64_t size, Buffer<operand>& room) const {
    if constexpr (!kRounds) {
      return values;
    } else {
      passes_.round(values, size, room.data());
      return room.data();
    }
  }

  // X <- a X + (b G + c G G) X, G = X X^T. Taller than wide: X <- a X + X (b G + c G G), G = X^T X, which is the same
  // of the transposed.
  void iterate() {
    const Matrix<const operand> x{as_operands(w_.x.data(), size_, w_.x_operand), E_ * rows_, cols_};
    const bool tall = rows_ > cols_;
    const int64_t small = E_ * s_ * s_;
    if (tall) {
      run_there(Fill<float>{.value = 0.0f, .x = {w_.gram.data(), 1, small}});
      w_.by_small.set_weights(E_, s_, s_, w_.gram.data());
      run_there(LinearBackwardWeight<P>{w_.by_small, x, x, w_.offsets, w_.gram.data(), nullptr});
    } else {
      w_.by_x.set_weights(E_, rows_, cols_, w_.x.data());
      ForwardEpilogue<P> epilogue;
      epilogue.out_real = {w_.gram.data(), E_ * s_, s_};
      run_there(LinearForward<P>{w_.by_x, x, w_.offsets, epilogue});
    }
    make_polynomial();
    if (tall) {
      w_.by_small.set_weights(E_, s_, s_, w_.polynomial.data());  // symmetric
      ForwardEpilogue<P> epilogue;
      epilogue.out_real = {w_.z.data(), E_ * rows_, cols_};
      run_there(LinearForward<P>{w_.by_small, x, w_.offsets, epilogue});
    } else {
      const operand* const polynomial = as_operands(w_.polynomial.data(), small, w_.small_operand);
      BackwardEpilogue<P> epilogue;
      epilogue.out_real = {w_.z.data(), E_ * rows_, cols_};
      run_there(LinearBackwardInput<P>{w_.by_x, {polynomial, E_ * s_, s_}, w_.offsets, epilogue});
    }
    passes_.blend(static_cast<float>(NewtonSchulz::a), w_.x.data(), 1.0f, w_.z.data(), size_, w_.x.data());
  }

  // b G + c G G, as c ((b / c) G + G G^T): G is symmetric.
  void make_polynomial() {
    const int64_t small = E_ * s_ * s_;
    const auto b = static_cast<float>(NewtonSchulz::b), c = static_cast<float>(NewtonSchulz::c);
    const operand* const gram = as_operands(w_.gram.data(), small, w_.small_operand);
    w_.by_small.set_weights(E_, s_, s_, w_.gram.data());
    ForwardEpilogue<P> epilogue;
    epilogue.out_real = {w_.polynomial.data(), E_ * s_, s_};
    run_there(LinearForward<P>{w_.by_small, {gram, E_ * s_, s_}, w_.small_offsets, epilogue});
    passes_.blend(b, w_.gram.data(), c, w_.polynomial.data(), small, w_.polynomial.data());
  }

  template <class Task>
  void run_there(const Task& task) const {
    run_on(Passes::kDevice, task, context_);
  }

  const MuonUpdate<P>& task_;
  MuonWorkspace<P>& w_;
  Context& context_;
  Passes passes_;
  int64_t E_, rows_, cols_, s_, size_;
};

}  // namespace troupe
