// Matrix products by cuBLASLt. The library is that of a toolkit or of Python's packages; without one, products are our
// own (linear.h).
#pragma once

#include <cstdint>
#include <string>

#include "kernels/context.h"
#include "kernels/cuda/cublaslt_api.h"

namespace troupe::cuda {

// D = alpha op(A) op(B) + beta C + bias of matrices as the library sees them, column after column. A row-major matrix
// [rows, cols] of a stride is to it one of cols x rows, columns `stride` apart.
struct LtProduct {
  struct Factor {
    const void* data;
    int64_t rows, cols, stride;  // column-major
    bool transposed;
  };
  lt::Type operands, result;
  Factor a, b;
  void* d;
  int64_t d_rows, d_cols, d_stride;
  float beta, alpha = 1.0f;
  const void* c = nullptr;  // as D; nullptr: D itself
  int64_t c_stride = 0;
  const void* bias = nullptr;  // of every column of D, in its type; or nullptr
  float* sums_of_b =
      nullptr;  // for every column of D that of op(B) over the depth, overwritten; or nullptr; no bias then
  bool rows_vary = false;      // the columns of B are as many as happen to be, so that few products are of one shape
};

// Why the library takes no products in this process, or "".
std::string lt_unavailable();
// Whether it has an algorithm for such a product.
bool lt_takes(const LtProduct& product);
// In the order of the machine's other work. The same bits for the same shapes, library and card: an algorithm is asked
// for once a shape, or where rows vary once for at most an eighth more of them; its parts are added in a fixed order.
void lt_multiply(const LtProduct& product, Context& context);

// What doctor says: version and path, or what was looked for.
std::string lt_description();

// Takes the place of the library, in tests; nullptr: the library again.
void lt_use(const lt::Api* api);

inline constexpr int64_t kLtWorkspaceBytes = int64_t{32} << 20;  // what Hopper's kernels ask for

}  // namespace troupe::cuda
