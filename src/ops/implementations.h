// The implementations of attention, layer norm, embedding, elementwise passes, loss and Adam as rows of lists: what the
// ops choose from and what the parity tests compare row by row with the last one, the reference.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "kernels/adam_step.h"
#include "kernels/attention_shape.h"
#include "ops/dispatch.h"
#include "ops/linear.h"
#include "tensor/matrix.h"
#include "tensor/precision.h"

namespace troupe {

template <class P>
struct AttentionKernels {
  using real = typename P::real;
  using operand = typename P::operand;

  std::string_view name;
  Refusal* refusal;
  void (*forward)(const AttentionShape&, Matrix<const operand>, Matrix<operand>, std::span<real>);
  void (*backward)(const AttentionShape&, Matrix<const operand>, Matrix<const operand>, std::span<const real>,
                   Matrix<const operand>, Matrix<operand>);
  void (*decode)(int64_t, double, std::span<const DecodeSequence<P>>);
};

template <class P>
struct LayerNormKernels {
  using real = typename P::real;
  using operand = typename P::operand;

  std::string_view name;
  Refusal* refusal;
  void (*forward)(Matrix<const real>, std::span<const real>, std::span<const real>, double, Matrix<operand>,
                  Matrix<real>, std::span<real>, std::span<real>);
  void (*backward)(Matrix<const real>, std::span<const real>, std::span<const real>, std::span<const real>,
                   Matrix<const real>, Matrix<real>, std::span<real>, std::span<real>);
};

template <class P>
struct EmbeddingKernels {
  using real = typename P::real;

  std::string_view name;
  Refusal* refusal;
  void (*forward)(std::span<const int32_t>, std::span<const int32_t>, Matrix<const real>, Matrix<const real>, double,
                  const Dropout&, Matrix<real>);
  void (*backward)(std::span<const int32_t>, std::span<const int32_t>, int64_t, double, const Dropout&,
                   Matrix<const real>, Matrix<real>, Matrix<real>);
};

template <class P>
struct ElementwiseKernels {
  std::string_view name;
  Refusal* refusal;
  void (*dropout_backward)(Matrix<const typename P::real>, const Dropout&, Matrix<typename P::operand>);
};

template <class P>
struct LossKernels {
  using real = typename P::real;
  using operand = typename P::operand;

  std::string_view name;
  Refusal* refusal;
  void (*loss)(const LinearBank<P>&, Matrix<const operand>, std::span<const int32_t>, std::span<real>,
               std::span<int32_t>);
  void (*loss_with_gradient)(const LinearBank<P>&, Matrix<const operand>, std::span<const int32_t>, std::span<real>,
                             Matrix<real>, real*);
};

template <class real>
struct AdamKernels {
  std::string_view name;
  Refusal* refusal;
  void (*update)(std::span<real>, std::span<const real>, std::span<real>, std::span<real>, const AdamStep&, double);
  double (*sum_of_squares)(std::span<const real>);
};

template <class P>
std::span<const AttentionKernels<P>> attention_list();
template <class P>
std::span<const LayerNormKernels<P>> layer_norm_list();
template <class P>
std::span<const EmbeddingKernels<P>> embedding_list();
template <class P>
std::span<const ElementwiseKernels<P>> elementwise_list();
template <class P>
std::span<const LossKernels<P>> loss_list();
template <class real>
std::span<const AdamKernels<real>> adam_list();

}  // namespace troupe
