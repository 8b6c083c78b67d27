// Output layer and cross-entropy, fused over blocks of tokens: logits [T, V] never exist as a whole.
//   nll_t = log(sum_v exp(l_tv)) - l_t,target,  l = (h E^T + b) / divisor; targets < 0 are not scored and get nll
//   0. The bank says whether there is a bias b.
// With a soft cap c > 0 (Gemma Team 2024) all of this is of c tanh(l / c) in place of l.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "ops/later.h"
#include "ops/linear.h"
#include "ops/op.h"

namespace troupe {

// Logits that exist at a time on a GPU: about 1 GiB.
inline constexpr int64_t kLogitsOnGpu = int64_t{1} << 28;
// Tokens of one block of logits, of `width` columns: as many blocks as come nearest to that, of about as many tokens.
inline int64_t tokens_of_logits(int64_t tokens, int64_t width) {
  constexpr int64_t kTile = 128;  // rows that products take at once
  const int64_t blocks = std::max<int64_t>((tokens * width + kLogitsOnGpu / 2) / kLogitsOnGpu, 1);
  const int64_t each = (tokens + blocks - 1) / blocks;
  return std::clamp<int64_t>((each + kTile - 1) / kTile * kTile, 1, std::max<int64_t>(tokens, 1));
}

// Scores only.
template <class P>
struct OutputLoss {
  using real = typename P::real;
  using operand = typename P::operand;
  static constexpr std::string_view kName = "output_loss";

  const LinearBank<P>& embed;
  Matrix<const operand> h_TD;
  std::span<const int32_t> targets_T;
  std::span<real> nll_T;             // overwritten
  std::span<int32_t> argmax_T = {};  // may be empty; gets the most probable token, lowest id on ties
  double divisor = 1.0;
  double cap = 0.0;

  static Implementations<OutputLoss> implementations();
};

// What another model, the teacher, makes of the same tokens: with p = softmax(l / temperature) and q that of the
// teacher's logits, a scored token's loss is (1 - alpha) nll + alpha temperature^2 KL(q || p) (Hinton, Vinyals and Dean
// 2015, Distilling the Knowledge in a Neural Network, whose gradients keep their size at every temperature).
template <class P>
struct OutputTeacher {
  const LinearBank<P>* embed = nullptr;  // as many rows as the model's; nullptr: there is no teacher
  Matrix<const typename P::operand> h_TD = {};
  double divisor = 1.0, cap = 0.0;
  double alpha = 0.0, temperature = 1.0;
  double* divergence = nullptr;  // on the host: sum of temperature^2 KL(q || p); overwritten
};

// Scores and the gradient of the sum of the losses:
//   dl_v = (softmax(l)_v - [v = target]) / divisor for a scored token;  dh = sum_v dl_v E_v,  dE_v += dl_v h,  db_v +=
//   dl_v.
// z_loss adds z_loss (log sum_v exp(l_v))^2 for a scored token to what the gradient is of (PaLM: Chowdhery et al.
// 2022), so that softmax(l)_v counts 1 + 2 z_loss log sum_v exp(l_v) times.
template <class P>
struct OutputLossWithGradient {
  using real = typename P::real;
  using operand = typename P::operand;
  static constexpr std::string_view kName = "output_loss_with_gradient";

  const LinearBank<P>& embed;
  Matrix<const operand> h_TD;
  std::span<const int32_t> targets_T;
  std::span<real> nll_T;      // overwritten
  Matrix<real> dh_TD;         // overwritten
  real* dembed_VD = nullptr;  // [V, D], added to unless it is nullptr
  double divisor = 1.0;
  double cap = 0.0, z_loss = 0.0;
  double* squared_lse = nullptr;  // on the host: sum of (log sum_v exp(l_v))^2; overwritten unless it is nullptr
  Later<double>* later = nullptr;  // a place for it, if squared_lse can wait
  OutputTeacher<P> teacher = {};
  real* dbias_V = nullptr;  // [V], added to unless it is nullptr; only beside dembed_VD

  static Implementations<OutputLossWithGradient> implementations();
};

// l = cap tanh(l / cap): what a caller does to logits that it computed itself.
template <class Real>
struct SoftCap {
  using real = Real;
  static constexpr std::string_view kName = "soft_cap";

  double cap = 0.0;  // > 0
  Matrix<real> logits;  // in place

  static Implementations<SoftCap> implementations();
};

}  // namespace troupe
