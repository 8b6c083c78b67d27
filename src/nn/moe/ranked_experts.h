// The experts of a layer on several ranks: each rank holds some of them, gets the rows of all ranks for these, and sends
// back what they make. Memory grows with the rows that really come.
#pragma once

#include "dist/row_exchange.h"
#include "nn/mlp.h"
#include "ops/route/part.h"
#include "ops/route/route.h"
#include "tensor/arena.h"

namespace troupe {

// What a layer keeps of a pass for its way back.
template <class P>
struct RankedRows {
  using real = typename P::real;

  RowExchange exchange;
  Matrix<typename P::operand> xe_RD;  // received
  typename Mlp<P>::Activations mlp;
  // Where routing groups span ranks, all ranks route all tokens, each for itself, and take the rows of their own.
  Routing<real> whole;
  RoutedPart<real> part;

  void plan_rows(const MlpSpec& spec);  // after exchange.plan()
  void plan_whole(const MoeConfig& config, int64_t T);
  void poison() { rows_.poison(), whole_arena_.poison(); }

 private:
  Arena rows_, whole_arena_;
  int64_t room_ = 0, tokens_ = 0;
};

// What lives inside one block's passes: shared by all layers.
template <class P>
struct RankedScratch {
  using real = typename P::real;
  using operand = typename P::operand;

  Matrix<real> ye_RD, dxe_RD;
  Matrix<operand> dye_RD, dhidden_RF;
  Matrix<real> logits_TE, dlogits_TE;  // of all ranks
  std::span<real> dweight_R;

  void plan_rows(const MlpSpec& spec, int64_t R);
  void plan_whole(const MoeConfig& config, int64_t T);
  void poison() { rows_.poison(), whole_arena_.poison(); }

 private:
  Arena rows_, whole_arena_;
  int64_t room_ = 0, tokens_ = 0;
};

}  // namespace troupe
