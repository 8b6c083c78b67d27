// Muon (Jordan et al. 2024): momentum made orthogonal by Newton and Schulz' iteration, for matrices. A batch of
// matrices of one shape is one task, as experts are in products; each is a matrix by itself.
//
// Per matrix [rows, cols] with s = min and l = max of the two: `iterations` times (4 s^2 l + 2 s^3) FLOPs in products
// whose inputs are operands, and some passes over float32.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/context.h"
#include "kernels/muon_step.h"
#include "ops/linear.h"
#include "ops/op.h"

namespace troupe {

// Memory between the passes of an update, for one task at a time; grows to what the largest needs.
template <class P>
class MuonWorkspace {
 public:
  using operand = typename P::operand;
  static constexpr bool kRounds = !std::is_same_v<operand, float>;

  explicit MuonWorkspace(Memory& memory = host_memory());
  void reserve(int64_t count, int64_t rows, int64_t cols);
  // As many parts as threads, for a matrix each. What a part takes does not depend on the thread that runs it, so steps
  // after the first allocate nothing.
  void reserve_parts(int64_t rows, int64_t cols);

  // What a task of these matrices takes: here, for packed copies of its products, and in `parts`.
  static int64_t bytes(int64_t count, int64_t rows, int64_t cols);

  // X and what is added to it [count, rows, cols]; X X^T (or X^T X, whichever is smaller) and the polynomial of it
  // [count, s, s]; and these as operands, if those are not float32.
  Buffer<float> x, z, gram, polynomial;
  Buffer<operand> x_operand, small_operand;
  Buffer<double> squares;
  LinearBank<P> by_x, by_small;
  std::vector<int64_t> offsets, small_offsets;
  std::vector<MuonWorkspace> parts;
  std::vector<Context> contexts;  // of the parts
};

// With g' = grad_scale g, for each of the matrices by itself:
//   m = momentum m + (1 - momentum) g';  u = (1 - momentum) g' + momentum m (Nesterov's), or m
//   X = u / max(|u|, 1e-7);  iterations times X <- a X + (b G + c G G) X, G = X X^T; of the transposed if that is wider
//   p = p - weight_decay lr p - lr sqrt(max(1, rows / cols)) X
// X, G and the polynomial are operands (rounded) wherever they are used, the rest is float32.
template <class P>
struct MuonUpdate {
  using precision = P;
  using real = typename P::real;
  static constexpr std::string_view kName = "muon_update";

  int64_t count, rows, cols;
  std::span<real> p;  // [count, rows, cols], updated in place, as m
  std::span<const real> g;
  std::span<real> m;
  MuonStep step;
  double grad_scale = 1.0;                // carries the clipping factor and 1 / tokens
  MuonWorkspace<P>* workspace = nullptr;  // of the caller

  static Implementations<MuonUpdate> implementations();
};

// Matrices of a shape that are worth one task: their products fill the threads, their passes stay in caches.
inline int64_t muon_batch(int64_t rows, int64_t cols) {
  constexpr int64_t kElements = int64_t{1} << 20;
  return std::max<int64_t>(1, kElements / (rows * cols));
}

// Of the products of an update.
inline double muon_flops(const MuonStep& step, int64_t count, int64_t rows, int64_t cols) {
  const auto s = static_cast<double>(std::min(rows, cols)), l = static_cast<double>(std::max(rows, cols));
  return static_cast<double>(count * step.iterations) * (4 * s * s * l + 2 * s * s * s);
}

}  // namespace troupe
