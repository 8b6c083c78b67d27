#include "ops/muon.h"

#include <cmath>
#include <numeric>

#include "base/threads.h"
#include "kernels/ref/muon.h"
#include "kernels/table.h"
#include "ops/cuda/row.h"
#include "ops/muon_batch.h"

namespace troupe {
namespace {

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

// Passes of MuonBatch on the processor.
struct HostMuonPasses {
  static constexpr Device kDevice = Device::kCpu;

  template <class P>
  void momentum(const MuonUpdate<P>& task, MuonWorkspace<P>& w) const {
    const auto momentum = static_cast<float>(task.step.momentum);
    const auto share = static_cast<float>((1.0 - task.step.momentum) * task.grad_scale);
    const int64_t area = task.rows * task.cols, pieces = (area + kMuonPiece - 1) / kMuonPiece;
    parallel_for(task.count * pieces, [&](int64_t i) {
      const int64_t begin = i % pieces * kMuonPiece, count = std::min(kMuonPiece, area - begin);
      const int64_t first = i / pieces * area + begin;
      float* const u = w.x.data() + first;
      kernels_.momentum(momentum, share, task.step.nesterov, task.g.data() + first, count, task.m.data() + first, u);
      w.squares[i] = kernels().adam.sum_of_squares(u, count);
    });
    parallel_for(task.count * pieces, [&](int64_t i) {
      const double* const squares = w.squares.data() + i / pieces * pieces;
      const double norm = std::sqrt(std::accumulate(squares, squares + pieces, 0.0));
      const auto factor = static_cast<float>(1.0 / std::max(norm, NewtonSchulz::kSmallestNorm));
      const int64_t begin = i % pieces * kMuonPiece, count = std::min(kMuonPiece, area - begin);
      float* const x = w.x.data() + i / pieces * area + begin;
      kernels_.blend(factor, x, 0.0f, x, count, x);
    });
  }
  void blend(float alpha, const float* x, float beta, const float* z, int64_t size, float* y) const {
    in_pieces(size, [&](int64_t first, int64_t count) {
      kernels_.blend(alpha, x + first, beta, z + first, count, y + first);
    });
  }
  void round(float* values, int64_t size, bf16* room) const {
    in_pieces(size, [&](int64_t first, int64_t count) { kernels_.round(count, values + first, room + first); });
  }

 private:
  const MuonKernels& kernels_ = kernels().muon;
};

template <class P>
void muon_blocked(const MuonUpdate<P>& task, Context& context) {
  MuonWorkspace<P>& workspace = *task.workspace;
  if (!one_by_one(task.count, task.rows, task.cols))
    return MuonBatch<P, HostMuonPasses>(task, workspace, context).run();
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
      MuonBatch<P, HostMuonPasses>(one, workspace.parts[static_cast<size_t>(part)], own).run();
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
  const bool on_gpu = active_device() == Device::kCuda;  // whose products read a rounded copy of what they multiply by
  if (!on_gpu && one_by_one(count, rows, cols)) count = num_threads();
  const int64_t size = count * rows * cols, s = std::min(rows, cols), small = count * s * s;
  const int64_t packed = rows > cols ? small : (on_gpu ? size : 2 * size) + small;
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
    static const auto rows = with_cuda<troupe::MuonUpdate, P>(
        {{"blocked", [](const MuonUpdate& task, Context& context) { muon_blocked(task, context); }}, reference});
    return rows;
  }
}

template class MuonWorkspace<F32>;
template class MuonWorkspace<Bf16>;
template struct MuonUpdate<F64>;
template struct MuonUpdate<F32>;
template struct MuonUpdate<Bf16>;

}  // namespace troupe
