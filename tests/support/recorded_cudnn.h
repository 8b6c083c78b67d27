// Stands in for cuDNN's attention: keeps what it is asked, and computes it from sizes and strides alone.
#pragma once

#include <vector>

#include "kernels/cuda/cudnn.h"
#include "kernels/ref/attention.h"
#include "ops/attention.h"

namespace troupe::test {

// In use from here to the end of the scope.
class RecordedDnn {
 public:
  explicit RecordedDnn(bool computes) {
    calls().clear();
    cuda::dnn_use(computes ? compute : keep);
  }
  RecordedDnn(const RecordedDnn&) = delete;
  ~RecordedDnn() { cuda::dnn_use(nullptr); }

  struct Call {
    cuda::DnnAttention attention;
    cuda::DnnData data;
  };
  static std::vector<Call>& calls() {
    static std::vector<Call> calls;
    return calls;
  }

 private:
  static void keep(const cuda::DnnAttention& a, const cuda::DnnData& data) { calls().push_back({a, data}); }
  static void compute(const cuda::DnnAttention& a, const cuda::DnnData& data) {
    keep(a, data);
    const auto matrix = [&](int tensor) {
      return Matrix<bf16>(static_cast<bf16*>(data[tensor]), a.B * a.S, a.heads(tensor) * a.C, a.strides[tensor]);
    };
    const std::span lse(static_cast<float*>(data[cuda::kDnnLse]), static_cast<size_t>(a.B * a.H * a.S));
    AttentionShape shape;
    shape.B = a.B, shape.S = a.S;
    shape.heads = {.H = a.H, .G = a.G, .C = a.C, .scale = a.scale, .window = a.window};
    if (a.backward)
      ref::attention_backward(AttentionBackward<Bf16>{
          shape, matrix(cuda::kDnnQ), matrix(cuda::kDnnK), matrix(cuda::kDnnV), matrix(cuda::kDnnCtx), lse,
          matrix(cuda::kDnnDctx), matrix(cuda::kDnnDq), matrix(cuda::kDnnDk), matrix(cuda::kDnnDv)});
    else
      ref::attention_forward(AttentionForward<Bf16>{shape, matrix(cuda::kDnnQ), matrix(cuda::kDnnK),
                                                    matrix(cuda::kDnnV), matrix(cuda::kDnnCtx), lse});
  }
};

}  // namespace troupe::test
