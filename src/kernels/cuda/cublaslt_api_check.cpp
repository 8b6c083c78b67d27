// cublaslt_api.h against the real header, where CMake found one; nothing else is made of it.
#include "kernels/cuda/cublaslt_api.h"

#if __has_include(<cublasLt.h>)
#include <cublasLt.h>

#include <type_traits>

namespace troupe::cuda::lt {
namespace {

// One of our types stands for one of theirs: both pointers, or of one size.
template <class Ours, class Theirs>
constexpr bool kStandsFor = sizeof(Ours) == sizeof(Theirs) && std::is_pointer_v<Ours> == std::is_pointer_v<Theirs>;
template <class Ours, class Theirs>
constexpr bool kSameCall = false;
template <class R, class... Ours, class S, class... Theirs>
constexpr bool kSameCall<R (*)(Ours...), S (*)(Theirs...)> = [] {
  if constexpr (sizeof...(Ours) == sizeof...(Theirs)) return kStandsFor<R, S> && (kStandsFor<Ours, Theirs> && ...);
  return false;
}();

#define TROUPE_LT(result, name, symbol, parameters) \
  static_assert(kSameCall<decltype(Api::name), decltype(&::symbol)>, #symbol);
TROUPE_LT_FUNCTIONS
#undef TROUPE_LT

static_assert(int{kF32} == CUDA_R_32F && int{kBf16} == CUDA_R_16BF && int{kCompute32F} == CUBLAS_COMPUTE_32F);
static_assert(int{kPlain} == CUBLAS_OP_N && int{kTransposed} == CUBLAS_OP_T && CUBLAS_STATUS_SUCCESS == 0);
static_assert(int{kTransA} == CUBLASLT_MATMUL_DESC_TRANSA && int{kTransB} == CUBLASLT_MATMUL_DESC_TRANSB);
static_assert(int{kEpilogue} == CUBLASLT_MATMUL_DESC_EPILOGUE && int{kBiasType} == CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE);
static_assert(int{kBiasPointer} == CUBLASLT_MATMUL_DESC_BIAS_POINTER && sizeof(Epilogue) == sizeof(cublasLtEpilogue_t));
static_assert(int{kCols} == CUBLASLT_MATRIX_LAYOUT_COLS);
static_assert(int{kStore} == CUBLASLT_EPILOGUE_DEFAULT && int{kAddBias} == CUBLASLT_EPILOGUE_BIAS);
static_assert(int{kSumB} == CUBLASLT_EPILOGUE_BGRADB);
static_assert(int{kMaxWorkspaceBytes} == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
static_assert(int{kReductionSchemeMask} == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK);
static_assert(int{kMinAlignmentA} == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES);
static_assert(int{kMinAlignmentB} == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES);
static_assert(int{kMinAlignmentC} == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES);
static_assert(int{kMinAlignmentD} == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES);
static_assert(kReduceInComputeType == CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);
static_assert(sizeof(Algo) == sizeof(cublasLtMatmulAlgo_t));
static_assert(sizeof(HeuristicResult) == sizeof(cublasLtMatmulHeuristicResult_t));
static_assert(offsetof(HeuristicResult, workspace_bytes) == offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize));
static_assert(offsetof(HeuristicResult, state) == offsetof(cublasLtMatmulHeuristicResult_t, state));

}  // namespace
}  // namespace troupe::cuda::lt
#endif
