// The implementations of the matrix products as rows of a list: what a LinearBank chooses from and what the parity
// tests compare row by row with the last one, the reference.
#pragma once

#include <span>
#include <string_view>

#include "kernels/cpu/gemm.h"
#include "ops/dispatch.h"

namespace troupe {

template <class P>
struct LinearKernels {
  std::string_view name;
  Refusal* refusal;
  const GemmKernels& (*gemm)();  // its block products, driven by kernels/linear_blocked.cpp; nullptr: the reference
};

template <class P>
std::span<const LinearKernels<P>> linear_list();

}  // namespace troupe
