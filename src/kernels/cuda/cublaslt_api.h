// What of cuBLASLt's interface is used, in declarations of our own (as driver_api.h). The library is loaded when a GPU
// is opened; cublaslt_api_check.cpp holds this against the real header where there is one.
#pragma once

#include <cstddef>
#include <cstdint>

namespace troupe::cuda::lt {

using Status = int;        // cublasStatus_t; 0 is success
using Handle = void*;      // cublasLtHandle_t
using Desc = void*;        // cublasLtMatmulDesc_t
using Layout = void*;      // cublasLtMatrixLayout_t
using Preference = void*;  // cublasLtMatmulPreference_t
using Stream = void*;      // cudaStream_t

enum Type : int { kF32 = 0, kBf16 = 14 };               // cudaDataType
enum Compute : int { kCompute32F = 68 };                // cublasComputeType_t: float32 without TF32
enum Operation : int { kPlain = 0, kTransposed = 1 };   // cublasOperation_t
enum DescAttribute : int {                              // cublasLtMatmulDescAttributes_t
  kTransA = 3,
  kTransB = 4,
  kEpilogue = 7,
  kBiasPointer = 8,
  kBiasType = 26
};
enum LayoutAttribute : int { kCols = 3 };               // cublasLtMatrixLayoutAttribute_t, of 8 bytes
// cublasLtEpilogue_t: a bias by row of a column-major D; sums of op(B) over the depth, by column of D, stored where a bias
// would be.
enum Epilogue : uint32_t { kStore = 1, kAddBias = 4, kSumB = 512 };
enum PreferenceAttribute : int {                        // cublasLtMatmulPreferenceAttributes_t
  kMaxWorkspaceBytes = 1,
  kReductionSchemeMask = 3,
  kMinAlignmentA = 5,
  kMinAlignmentB = 6,
  kMinAlignmentC = 7,
  kMinAlignmentD = 8
};
// cublasLtReductionScheme_t: partial sums of a product cut over its depth are added in float32, in a fixed order.
constexpr uint32_t kReduceInComputeType = 2;

struct Algo {  // cublasLtMatmulAlgo_t
  uint64_t data[8];
};
struct HeuristicResult {  // cublasLtMatmulHeuristicResult_t
  Algo algo;
  size_t workspace_bytes;
  Status state;
  float waves;
  int reserved[4];
};

// TROUPE_LT(result, name, symbol, parameters)
#define TROUPE_LT_FUNCTIONS                                                                                   \
  TROUPE_LT(size_t, version, cublasLtGetVersion, ())                                                          \
  TROUPE_LT(Status, create, cublasLtCreate, (Handle*))                                                        \
  TROUPE_LT(const char*, status_text, cublasLtGetStatusString, (Status))                                      \
  TROUPE_LT(Status, create_desc, cublasLtMatmulDescCreate, (Desc*, Compute, Type))                            \
  TROUPE_LT(Status, destroy_desc, cublasLtMatmulDescDestroy, (Desc))                                          \
  TROUPE_LT(Status, set_desc, cublasLtMatmulDescSetAttribute, (Desc, DescAttribute, const void*, size_t))     \
  TROUPE_LT(Status, create_layout, cublasLtMatrixLayoutCreate, (Layout*, Type, uint64_t, uint64_t, int64_t))  \
  TROUPE_LT(Status, destroy_layout, cublasLtMatrixLayoutDestroy, (Layout))                                    \
  TROUPE_LT(Status, set_layout, cublasLtMatrixLayoutSetAttribute,                                             \
            (Layout, LayoutAttribute, const void*, size_t))                                                   \
  TROUPE_LT(Status, create_preference, cublasLtMatmulPreferenceCreate, (Preference*))                         \
  TROUPE_LT(Status, destroy_preference, cublasLtMatmulPreferenceDestroy, (Preference))                        \
  TROUPE_LT(Status, set_preference, cublasLtMatmulPreferenceSetAttribute,                                     \
            (Preference, PreferenceAttribute, const void*, size_t))                                           \
  TROUPE_LT(Status, heuristic, cublasLtMatmulAlgoGetHeuristic,                                                \
            (Handle, Desc, Layout, Layout, Layout, Layout, Preference, int, HeuristicResult*, int*))          \
  TROUPE_LT(Status, matmul, cublasLtMatmul,                                                                   \
            (Handle, Desc, const void* alpha, const void* a, Layout, const void* b, Layout, const void* beta, \
             const void* c, Layout, void* d, Layout, const Algo*, void* workspace, size_t, Stream))

struct Api {
#define TROUPE_LT(result, name, symbol, parameters) result(*name) parameters = nullptr;
  TROUPE_LT_FUNCTIONS
#undef TROUPE_LT
};

}  // namespace troupe::cuda::lt
