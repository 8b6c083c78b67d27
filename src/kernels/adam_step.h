// The scalars of one Adam update; shared by the op and its kernels.
#pragma once

#include <cstdint>

namespace troupe {

struct AdamStep {
  enum class Form {
    kFairseq,  // epsilon is added to the uncorrected sqrt(v) (fairseq optim/adam.py)
    kUsual,    // epsilon is added after bias correction (Loshchilov and Hutter 2019; torch.optim.AdamW)
  };
  double lr = 1e-3;  // the scheduled rate of this update
  double beta1 = 0.9, beta2 = 0.98;
  double eps = 1e-8;
  double weight_decay = 0.0;  // decoupled: p -= weight_decay * lr * p before the update
  int64_t t = 1;              // number of this update, from 1
  Form form = Form::kFairseq;
};

// p <- decay p - rate m / (sqrt(v) + epsilon) after m and v took g. Both forms come down to it.
struct AdamCoefficients {
  float beta1, rest1;  // rest1 = (1 - beta1) grad_scale, rest2 = (1 - beta2) grad_scale^2
  float beta2, rest2;
  float decay, rate, epsilon;
};

}  // namespace troupe
