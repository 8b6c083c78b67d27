// Rows between tokens and experts: gather before the experts, weighted sum after them, and the gradients of both.
// Which rows a token owns, if any, says ops/route/routed.h.
#pragma once

#include <cstdint>
#include <span>

#include "ops/dropout.h"
#include "ops/op.h"
#include "ops/route/routed.h"
#include "tensor/matrix.h"

namespace troupe {

// xe_RD[r] = x_TD[token of r].
template <class P>
struct GatherRows {
  using real = typename P::real;
  using operand = typename P::operand;
  static constexpr std::string_view kName = "gather_rows";

  Matrix<const operand> x_TD;
  const Routed<real>& rows;  // as many as xe has
  Matrix<operand> xe_RD;  // overwritten

  static Implementations<GatherRows> implementations();
};

// dx_TD[t] += sum of dxe_RD[r] over the rows r of token t, in their order.
template <class P>
struct GatherRowsBackward {
  using real = typename P::real;
  static constexpr std::string_view kName = "gather_rows_backward";

  Matrix<const real> dxe_RD;
  const Routed<real>& rows;
  Matrix<real> dx_TD;  // added to

  static Implementations<GatherRowsBackward> implementations();
};

// out_TD[t] = residual_TD[t] + sum of weight_r * dropout(ye_RD[r]) over the rows r of token t, in their order. A row's
// number in dropout is element_of(r).
template <class P>
struct CombineRows {
  using real = typename P::real;
  static constexpr std::string_view kName = "combine_rows";

  Matrix<const real> residual_TD, ye_RD;  // residual_TD may be empty: zeros
  const Routed<real>& rows;
  Dropout dropout;
  Matrix<real> out_TD;  // overwritten; may be residual_TD

  static Implementations<CombineRows> implementations();
};

// dye_RD[r] = weight_r * dropout'(dout_TD[t]); dweight_R[r] = dout_TD[t] . dropout(ye_RD[r]), t the token of r.
template <class P>
struct CombineRowsBackward {
  using real = typename P::real;
  using operand = typename P::operand;
  static constexpr std::string_view kName = "combine_rows_backward";

  Matrix<const real> dout_TD, ye_RD;
  const Routed<real>& rows;
  Dropout dropout;
  Matrix<operand> dye_RD;     // overwritten
  std::span<real> dweight_R;  // overwritten

  static Implementations<CombineRowsBackward> implementations();
};

// What an expert makes that every token passes: out_TD[t] += dropout(s_t y_TD[t]), s_t = sigmoid(gate_T[t]), or 1 without
// gates.
template <class P>
struct SharedRows {
  using real = typename P::real;
  static constexpr std::string_view kName = "shared_rows";

  Matrix<const real> y_TD;
  Matrix<const real> gate_T1;  // may be empty
  Dropout dropout;
  Matrix<real> out_TD;  // added to

  static Implementations<SharedRows> implementations();
};

// With dy = dropout'(dout_TD[t]):  dy_TD[t] = s_t dy,  dgate_T[t] = s_t (1 - s_t) dy . y_TD[t].
template <class P>
struct SharedRowsBackward {
  using real = typename P::real;
  using operand = typename P::operand;
  static constexpr std::string_view kName = "shared_rows_backward";

  Matrix<const real> dout_TD, y_TD, gate_T1;
  Dropout dropout;
  Matrix<operand> dy_TD;    // overwritten
  Matrix<real> dgate_T1;    // overwritten; empty if there are no gates

  static Implementations<SharedRowsBackward> implementations();
};

}  // namespace troupe
