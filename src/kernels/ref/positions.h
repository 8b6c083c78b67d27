// Sinusoidal positions, operation by operation as fairseq's tensors round; the task is that of ops/embedding.h.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "tensor/host_matrix.h"

namespace troupe::ref {

// torch.exp on float32 tensors, bit for bit where the result is a normal number: the scheme of SLEEF's expf_u10
// (Shibata and Petrogalli 2020): x = q ln 2 + s with ln 2 in two parts, a polynomial of degree 7 in s, every step one
// fma.
inline float torch_exp(float x) {
  const float q = std::rint(x * 1.442695040888963407f);
  float s = std::fma(q, -0.693145751953125f, x);
  s = std::fma(q, -1.428606765330187045e-06f, s);
  float u = 0.000198527617612853646278381f;
  for (const float coefficient : {0.00139304355252534151077271f, 0.00833336077630519866943359f,
                                  0.0416664853692054748535156f, 0.166666671633720397949219f, 0.5f})
    u = std::fma(u, s, coefficient);
  return std::ldexp(1.0f + std::fma(s * s, u, s), static_cast<int>(q));
}

// Every operation is rounded to float32 where fairseq's tensors round: c, k * -c, exp, p * w, sin, cos. At position p
// one unit in the last place of w_k moves the angle by p of them, so exp must have the bits of torch's; sin and cos
// need not, and are rounded from double.
template <class Task>
void sinusoidal_positions(const Task& task) {
  using real = typename Task::real;
  const HostMatrix<real> table_PD = task.table_PD;
  const int64_t half = table_PD.cols / 2;
  const float c = static_cast<float>(std::log(10000.0) / static_cast<double>(half - 1));
  std::vector<float> w(static_cast<size_t>(half), 1.0f);
  for (int64_t k = 1; k < half; ++k) w[k] = torch_exp(static_cast<float>(k) * -c);
  for (int64_t p = 0; p < table_PD.rows; ++p) {
    real* const row = table_PD.row(p);
    for (int64_t k = 0; k < half; ++k) {
      const double angle = static_cast<float>(p) * w[k];
      row[k] = p == 1 ? 0.0f : static_cast<float>(std::sin(angle));
      row[half + k] = p == 1 ? 0.0f : static_cast<float>(std::cos(angle));
    }
    if (table_PD.cols % 2 != 0) row[table_PD.cols - 1] = 0.0f;
  }
}

}  // namespace troupe::ref
