#include "ops/muon.h"

#include <cmath>
#include <numeric>

#include "base/threads.h"
#include "kernels/ref/muon.h"
#include "kernels/table.h"
#include "ops/elementwise.h"

namespace troupe {
namespace {

constexpr int64_t kMuonPiece = 1 << 14;  // elements of a pass at a time; the cut of the sum

// body(first, count) over pieces of `size` elements.
template <class Body>
void in_pieces(int64_t size, const Body& body) {
  parallel_chunks(size, kMuonPiece, [&](int64_t begin, int64_t end) { body(begin, end - begin); });
}

// Whether a thread takes a matrix at a time through all passes, with no barrier between them: what they need, six times
// the matrix and some more, stays in its caches.
bool one_by_one(int64_t count, int64_t rows, int64_t cols) {
  constexpr int64_t kMostElements = 1 << 17;
  return count >= num_threads() && rows * cols <= kMostElements;
}

// The products of one batch: X [E, rows, cols] in the workspace, s the smaller side.
template <class P>
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
    take_momentum();
    for (int64_t n = 0; n < task_.step.iterations; ++n) iterate();
    const auto decay = static_cast<float>(1.0 - task_.step.weight_decay * task_.step.lr);
    const auto rate = static_cast<float>(task_.step.lr * muon_scale(rows_, cols_));
    blend(decay, task_.p.data(), -rate, w_.x.data(), size_, task_.p.data());
  }

 private:
  void blend(float alpha, const float* x, float beta, const float* z, int64_t size, float* y) const {
    in_pieces(size, [&](int64_t first, int64_t count) {
      kernels_.blend(alpha, x + first, beta, z + first, count, y + first);
    });
  }

  // `values` as inputs of a product: themselves, or rounded, here and in `room`.
  const operand* as_operands(float* values, int64_t size, Buffer<operand>& room) const {
    if constexpr (!kRounds) {
      return values;
    } else {
      in_pieces(size,
                [&](int64_t first, int64_t count) { kernels_.round(count, values + first, room.data() + first); });
      return room.data();
    }
  }

  // X = u / |u|, matrix by matrix.
  void take_momentum() {
    const auto momentum = static_cast<float>(task_.step.momentum);
    const auto share = static_cast<float>((1.0 - task_.step.momentum) * task_.grad_scale);
    const int64_t area = rows_ * cols_, pieces = (area + kMuonPiece - 1) / kMuonPiece;
    parallel_for(E_ * pieces, [&](int64_t i) {
      const int64_t begin = i % pieces * kMuonPiece, count = std::min(kMuonPiece, area - begin);
      const int64_t first = i / pieces * area + begin;
      float* const u = w_.x.data() + first;
      kernels_.momentum(momentum, share, task_.step.nesterov, task_.g.data() + first, count, task_.m.data() + first, u);
      w_.squares[i] = kernels().adam.sum_of_squares(u, count);
    });
    parallel_for(E_ * pieces, [&](int64_t i) {
      const double* const squares = w_.squares.data() + i / pieces * pieces;
      const double norm = std::sqrt(std::accumulate(squares, squares + pieces, 0.0));
      const auto factor = static_cast<float>(1.0 / std::max(norm, NewtonSchulz::kSmallestNorm));
      const int64_t begin = i % pieces * kMuonPiece, count = std::min(kMuonPiece, area - begin);
      float* const x = w_.x.data() + i / pieces * area + begin;
      kernels_.blend(factor, x, 0.0f, x, count, x);
    });
  }

  // X <- a X + (b G + c G G) X, G = X X^T. Taller than wide: X <- a X + X (b G + c G G), G = X^T X, which is the same
  // of the transposed.
  void iterate() {
    const Matrix<const operand> x{as_operands(w_.x.data(), size_, w_.x_operand), E_ * rows_, cols_};
    const bool tall = rows_ > cols_;
    const int64_t small = E_ * s_ * s_;
    if (tall) {
      run_fill(w_.gram.data(), small);
      w_.by_small.set_weights(E_, s_, s_, w_.gram.data());
      troupe::run(LinearBackwardWeight<P>{w_.by_small, x, x, w_.offsets, w_.gram.data(), nullptr}, context_);
    } else {
      w_.by_x.set_weights(E_, rows_, cols_, w_.x.data());
      ForwardEpilogue<P> epilogue;
      epilogue.out_real = {w_.gram.data(), E_ * s_, s_};
      troupe::run(LinearForward<P>{w_.by_x, x, w_.offsets, epilogue}, context_);
    }
    make_polynomial();
    if (tall) {
      w_.by_small.set_weights(E_, s_, s_, w_.polynomial.data());  // symmetric
      ForwardEpilogue<P> epilogue;
      epilogue.out_real = {w_.z.data(), E_ * rows_, cols_};
      troupe::run(LinearForward<P>{w_.by_small, x, w_.offsets, epilogue}, context_);
    } else {
      const operand* const polynomial = as_operands(w_.polynomial.data(), small, w_.small_operand);
      BackwardEpilogue<P> epilogue;
      epilogue.out_real = {w_.z.data(), E_ * rows_, cols_};
      troupe::run(LinearBackwardInput<P>{w_.by_x, {polynomial, E_ * s_, s_}, w_.offsets, epilogue}, context_);
    }
    blend(static_cast<float>(NewtonSchulz::a), w_.x.data(), 1.0f, w_.z.data(), size_, w_.x.data());
  }

  // b G + c G G, as c ((b / c) G + G G^T): G is symmetric.
  void make_polynomial() {
    const int64_t small = E_ * s_ * s_;
    const auto b = static_cast<float>(NewtonSchulz::b), c = static_cast<float>(NewtonSchulz::c);
    const operand* const gram = as_operands(w_.gram.data(), small, w_.small_operand);
    w_.by_small.set_weights(E_, s_, s_, w_.gram.data());
    ForwardEpilogue<P> epilogue;
    epilogue.out_real = {w_.polynomial.data(), E_ * s_, s_};
    troupe::run(LinearForward<P>{w_.by_small, {gram, E_ * s_, s_}, w_.small_offsets, epilogue}, context_);
    blend(b, w_.gram.data(), c, w_.polynomial.data(), small, w_.polynomial.data());
  }

  void run_fill(float* values, int64_t size) const {
    troupe::run(Fill<float>{.value = 0.0f, .x = {values, 1, size}}, context_);
  }

  const MuonUpdate<P>& task_;
  MuonWorkspace<P>& w_;
  Context& context_;
  const MuonKernels& kernels_ = kernels().muon;
  int64_t E_, rows_, cols_, s_, size_;
};

template <class P>
void muon_blocked(const MuonUpdate<P>& task, Context& context) {
  MuonWorkspace<P>& workspace = *task.workspace;
  if (!one_by_one(task.count, task.rows, task.cols)) return MuonBatch<P>(task, workspace, context).run();
  workspace.reserve_parts(task.rows, task.cols);
  const auto area = static_cast<size_t>(task.rows * task.cols);
  const auto parts = static_cast<int64_t>(workspace.parts.size());
  parallel_for(parts, [&](int64_t part) {
    Context& own = workspace.contexts[static_cast<size_t>(part)];
    const Context::Running part_of_the_task(own, nullptr);
    for (int64_t e = part; e < task.count; e += parts) {
      const auto matrix = [&](auto values) { return values.subspan(static_cast<size_t>(e) * area, area); };
      MuonUpdate<P> one = task;
      one.count = 1, one.p = matrix(task.p), one.g = matrix(task.g), one.m = matrix(task.m);
      MuonBatch<P>(one, workspace.parts[static_cast<size_t>(part)], own).run();
    }
  });
}

}  // namespace

template <class P>
MuonWorkspace<P>::MuonWorkspace(Memory& memory)
    : x(memory),
      z(memory),
      gram(memory),
      polynomial(memory),
      x_operand(memory),
      small_operand(memory),
      squares(memory) {}

template <class P>
void MuonWorkspace<P>::reserve(int64_t count, int64_t rows, int64_t cols) {
  const int64_t size = count * rows * cols, s = std::min(rows, cols), small = count * s * s;
  x.reserve(size), z.reserve(size), gram.reserve(small), polynomial.reserve(small);
  if (kRounds) x_operand.reserve(size), small_operand.reserve(small);
  squares.reserve(count * ((rows * cols + kMuonPiece - 1) / kMuonPiece));
  offsets.resize(static_cast<size_t>(count) + 1), small_offsets.resize(static_cast<size_t>(count) + 1);
}

template <class P>
void MuonWorkspace<P>::reserve_parts(int64_t rows, int64_t cols) {
  while (static_cast<int64_t>(parts.size()) < num_threads()) parts.emplace_back(x.memory()), contexts.emplace_back();
  for (MuonWorkspace& part : parts) part.reserve(1, rows, cols);
}

template <class P>
int64_t MuonWorkspace<P>::bytes(int64_t count, int64_t rows, int64_t cols) {
  if (one_by_one(count, rows, cols)) count = num_threads();
  const int64_t size = count * rows * cols, s = std::min(rows, cols), small = count * s * s;
  const int64_t packed = rows > cols ? small : 2 * size + small;
  const int64_t operands = kRounds ? static_cast<int64_t>(sizeof(operand)) * (size + small + packed) : 0;
  return 2 * static_cast<int64_t>(sizeof(float)) * (size + small) + operands;
}

template <class P>
Implementations<MuonUpdate<P>> MuonUpdate<P>::implementations() {
  using Row = Implementation<MuonUpdate>;
  static const Row reference{"ref", [](const MuonUpdate& task, Context&) { ref::muon_update(task); }};
  if constexpr (std::is_same_v<P, F64>) {
    static const Row rows[] = {reference};
    return rows;
  } else {
    static const Row rows[] = {
        {"blocked", [](const MuonUpdate& task, Context& context) { muon_blocked(task, context); }}, reference};
    return rows;
  }
}

template class MuonWorkspace<F32>;
template class MuonWorkspace<Bf16>;
template struct MuonUpdate<F64>;
template struct MuonUpdate<F32>;
template struct MuonUpdate<Bf16>;

}  // namespace troupe
