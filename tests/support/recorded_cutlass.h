// Stands in for CUTLASS: keeps what it is asked, with the arrays that the device would read, and computes it from these
// alone.
#pragma once

#include <mutex>
#include <vector>

#include "base/threads.h"
#include "kernels/cuda/cutlass.h"
#include "tensor/bf16.h"

namespace troupe::test {

class RecordedCutlass {
 public:
  struct Group {
    cuda::GroupShape shape;
    const void *a, *b, *d;
    const float* bias;
    int64_t a_stride, b_stride, d_stride;
  };
  struct Call {
    cuda::CutlassProducts products;
    std::vector<Group> groups;
  };
  static std::vector<Call>& calls() {
    static std::vector<Call> calls;
    return calls;
  }

  static void compute(const cuda::CutlassProducts& products) {
    const cuda::GroupArrays& all = products.arrays;
    Call call{products, {}};
    for (int32_t e = 0; e < products.num_groups; ++e)
      call.groups.push_back({all.shapes[e], all.a[e], all.b[e], all.d[e], all.bias[e], all.a_stride[e], all.b_stride[e],
                             all.d_stride[e]});
    for (const Group& group : call.groups) multiply(products, group);
    static std::mutex mutex;
    const std::lock_guard lock(mutex);
    calls().push_back(call);
  }

 private:
  static void multiply(const cuda::CutlassProducts& products, const Group& group) {
    const bool a_by_columns = products.product == cuda::LinearProduct::kBackwardWeight;
    const bool b_by_columns = products.product == cuda::LinearProduct::kForward;
    const auto at = [](const void* data, int64_t stride, int64_t i, int64_t j, bool turned) {
      return static_cast<float>(static_cast<const bf16*>(data)[turned ? j * stride + i : i * stride + j]);
    };
    parallel_for(group.shape.m, [&](int64_t i) {
      for (int64_t j = 0; j < group.shape.n; ++j) {
        float sum = 0.0f;
        for (int64_t l = 0; l < group.shape.k; ++l)
          sum += at(group.a, group.a_stride, i, l, a_by_columns) * at(group.b, group.b_stride, l, j, b_by_columns);
        if (products.has_bias) sum += group.bias[j];
        const int64_t place = i * group.d_stride + j;
        auto* const wide = static_cast<float*>(const_cast<void*>(group.d));
        if (a_by_columns) sum += wide[place];
        if (products.is_wide)
          wide[place] = sum;
        else
          static_cast<bf16*>(const_cast<void*>(group.d))[place] = bf16(sum);
      }
    });
  }
};

}  // namespace troupe::test
