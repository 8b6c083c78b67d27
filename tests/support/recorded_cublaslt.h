// Stands in for cuBLASLt: keeps what it is asked and computes it, column-major, from descriptors and layouts alone.
#pragma once

#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "base/error.h"
#include "base/threads.h"
#include "kernels/cuda/cublaslt.h"
#include "tensor/bf16.h"

namespace troupe::test {

struct LtCall {
  cuda::lt::Compute compute;
  cuda::lt::Type operands, result;
  bool a_transposed, b_transposed;
  int64_t m, n, k, a_stride, b_stride, d_stride;
  float beta;
  size_t workspace_bytes;
  bool has_bias = false, from_c = false;  // from_c: beta is of another matrix than D
  bool sums_b = false;
  bool operator==(const LtCall&) const = default;
};

class RecordedLt {
 public:
  static const cuda::lt::Api& api() {
    using namespace cuda::lt;
    static const Api api = {
        .version = [] { return size_t{130100}; },
        .create = [](Handle* handle) { return *handle = &the(), 0; },
        .status_text = [](Status) { return "refused by the stand-in"; },
        .create_desc =
            [](Desc* desc, Compute compute, Type scale) {
              *desc = new DescObject{compute, scale};
              return 0;
            },
        .destroy_desc = [](Desc desc) { return delete static_cast<DescObject*>(desc), 0; },
        .set_desc =
            [](Desc desc, DescAttribute attribute, const void* value, size_t size) {
              auto& object = *static_cast<DescObject*>(desc);
              if (attribute == kBiasPointer) return std::memcpy(&object.bias, value, size), size == 8 ? 0 : 1;
              if (size != sizeof(int)) return 1;
              if (attribute == kEpilogue) return std::memcpy(&object.epilogue, value, size), 0;
              if (attribute == kBiasType) return std::memcpy(&object.bias_type, value, size), 0;
              int operation = 0;
              std::memcpy(&operation, value, size);
              (attribute == kTransA ? object.a : object.b) =
                  operation == kTransposed;
              return 0;
            },
        .create_layout =
            [](cuda::lt::Layout* layout, Type type, uint64_t rows, uint64_t cols, int64_t stride) {
              *layout = new LayoutObject{type, static_cast<int64_t>(rows), static_cast<int64_t>(cols), stride};
              return stride >= static_cast<int64_t>(rows) ? 0 : 1;
            },
        .destroy_layout = [](cuda::lt::Layout layout) { return delete static_cast<LayoutObject*>(layout), 0; },
        .set_layout =
            [](cuda::lt::Layout layout, LayoutAttribute attribute, const void* value, size_t size) {
              if (attribute != kCols || size != 8) return 1;
              return std::memcpy(&static_cast<LayoutObject*>(layout)->cols, value, size), 0;
            },
        .create_preference = [](Preference* preference) { return *preference = new PreferenceObject, 0; },
        .destroy_preference =
            [](Preference preference) { return delete static_cast<PreferenceObject*>(preference), 0; },
        .set_preference =
            [](Preference preference, PreferenceAttribute attribute, const void* value, size_t size) {
              uint64_t number = 0;
              std::memcpy(&number, value, size);
              (*static_cast<PreferenceObject*>(preference))[attribute] = number;
              return 0;
            },
        .heuristic =
            [](Handle, Desc desc, cuda::lt::Layout a, cuda::lt::Layout b, cuda::lt::Layout, cuda::lt::Layout d,
               Preference preference, int wanted, HeuristicResult* result, int* count) {
              if (the().without_bias && static_cast<DescObject*>(desc)->bias) return 15;
              for (const cuda::lt::Layout layout : {a, b, d})
                if (const auto& sizes = *static_cast<LayoutObject*>(layout); sizes.rows == 0 || sizes.cols == 0) return 7;
              the().last_preference = *static_cast<PreferenceObject*>(preference);
              ++the().heuristics;
              *result = {};
              result->algo.data[0] = static_cast<uint64_t>(static_cast<LayoutObject*>(b)->cols);
              return *count = wanted, 0;
            },
        .matmul = matmul,
    };
    return api;
  }
  static RecordedLt& the() {
    static RecordedLt recorded;
    return recorded;
  }

  static inline bool in_use = false;  // instead of the library
  std::vector<LtCall> calls;
  std::map<int, uint64_t> last_preference;
  int heuristics = 0;
  bool without_bias = false;  // it has no algorithm that adds one
  bool exacting = false;      // its algorithms are for the columns of B that they were asked for

 private:
  struct DescObject {
    cuda::lt::Compute compute;
    cuda::lt::Type scale;
    bool a = false, b = false;
    uint32_t epilogue = cuda::lt::kStore;
    const void* bias = nullptr;
    cuda::lt::Type bias_type = cuda::lt::kF32;
  };
  struct LayoutObject {
    cuda::lt::Type type;
    int64_t rows, cols, stride;
  };
  using PreferenceObject = std::map<int, uint64_t>;

  static float read(const void* data, const LayoutObject& layout, int64_t row, int64_t col) {
    const int64_t at = col * layout.stride + row;
    return layout.type == cuda::lt::kBf16 ? static_cast<float>(static_cast<const bf16*>(data)[at])
                                          : static_cast<const float*>(data)[at];
  }

  static cuda::lt::Status matmul(cuda::lt::Handle, cuda::lt::Desc desc_of, const void* alpha, const void* a,
                                 cuda::lt::Layout a_of, const void* b, cuda::lt::Layout b_of, const void* beta_of,
                                 const void* c, cuda::lt::Layout c_of, void* d, cuda::lt::Layout d_of,
                                 const cuda::lt::Algo* algo, void*, size_t workspace_bytes, cuda::lt::Stream) {
    const auto& desc = *static_cast<DescObject*>(desc_of);
    const auto &la = *static_cast<LayoutObject*>(a_of), &lb = *static_cast<LayoutObject*>(b_of);
    const auto &lc = *static_cast<LayoutObject*>(c_of), &ld = *static_cast<LayoutObject*>(d_of);
    const int64_t m = desc.a ? la.cols : la.rows, k = desc.a ? la.rows : la.cols;
    const int64_t n = desc.b ? lb.rows : lb.cols, b_depth = desc.b ? lb.cols : lb.rows;
    if (k != b_depth || ld.rows != m || ld.cols != n || la.type != lb.type || desc.scale != cuda::lt::kF32) return 7;
    if (the().exacting && algo->data[0] != static_cast<uint64_t>(lb.cols)) return 15;
    const bool biased = desc.epilogue == cuda::lt::kAddBias, sums_b = desc.epilogue == cuda::lt::kSumB;
    const bool of_type = desc.bias_type == (sums_b ? cuda::lt::kF32 : ld.type);
    if ((biased || sums_b) != (desc.bias != nullptr) || (desc.bias && !of_type) || lc.type != ld.type) return 7;
    const float scale = *static_cast<const float*>(alpha), beta = *static_cast<const float*>(beta_of);
    {
      static std::mutex mutex;
      const std::lock_guard lock(mutex);
      the().calls.push_back({desc.compute, la.type, ld.type, desc.a, desc.b, m, n, k, la.stride, lb.stride, ld.stride,
                             beta, workspace_bytes, biased, c != d, sums_b});
    }
    parallel_for(n, [&](int64_t j) {
      float of_b = 0.0f;
      for (int64_t l = 0; sums_b && l < k; ++l) of_b += desc.b ? read(b, lb, j, l) : read(b, lb, l, j);
      if (sums_b) static_cast<float*>(const_cast<void*>(desc.bias))[j] = of_b;
      for (int64_t i = 0; i < m; ++i) {
        float sum = 0.0f;
        for (int64_t l = 0; l < k; ++l)
          sum += (desc.a ? read(a, la, l, i) : read(a, la, i, l)) * (desc.b ? read(b, lb, j, l) : read(b, lb, l, j));
        sum *= scale;
        if (beta != 0.0f) sum += beta * read(c, lc, i, j);
        if (biased) sum += read(desc.bias, {ld.type, m, 1, m}, i, 0);
        if (ld.type == cuda::lt::kBf16)
          static_cast<bf16*>(d)[j * ld.stride + i] = bf16(sum);
        else
          static_cast<float*>(d)[j * ld.stride + i] = sum;
      }
    });
    return 0;
  }
};

}  // namespace troupe::test
