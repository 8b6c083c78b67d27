// One line of cutlass_parts.inc as nvcc compiles it, in an object of its own: TROUPE_CUTLASS_NAME is its name. (After
// CUTLASS' example 57.)
#include <cutlass/cutlass.h>
#include <cutlass/gemm/device/gemm_universal_adapter.h>
#include <cutlass/version.h>

#include <cute/tensor.hpp>
#include <cutlass/epilogue/collective/collective_builder.hpp>
#include <cutlass/gemm/collective/collective_builder.hpp>
#include <cutlass/gemm/dispatch_policy.hpp>
#include <cutlass/gemm/group_array_problem_shape.hpp>
#include <cutlass/gemm/kernel/gemm_universal.hpp>

#include "kernels/cuda/cutlass.h"

namespace troupe::cuda {
namespace {

namespace fusion = cutlass::epilogue::fusion;
using cute::Shape, cute::_1, cute::_2, cute::_64, cute::_128, cute::_256;
using Operand = cutlass::bfloat16_t;
using Rows = cutlass::layout::RowMajor;
using Columns = cutlass::layout::ColumnMajor;
using Groups = cutlass::gemm::GroupProblemShape<Shape<int, int, int>>;

// The line of this object.
struct Line {
  LinearProduct product;
  bool is_wide, short_tiles;
};
namespace lines {
#define TROUPE_CUTLASS_PART(name, product, is_wide, short_tiles) \
  constexpr Line name = {LinearProduct::product, is_wide, short_tiles};
#include "kernels/cuda/cutlass_parts.inc"
#undef TROUPE_CUTLASS_PART
}  // namespace lines
constexpr Line kLine = lines::TROUPE_CUTLASS_NAME;
constexpr bool kIsForward = kLine.product == LinearProduct::kForward;
constexpr bool kAddsToD = kLine.product == LinearProduct::kBackwardWeight;
using Result = std::conditional_t<kLine.is_wide, float, Operand>;

// A tile of two groups of warps, 64 rows each; two tiles, one below the other, share what they read of B.
struct TallTiles {
  using Tile = Shape<_128, _256, _64>;
  using Cluster = Shape<_2, _1, _1>;
  using Mainloop = cutlass::gemm::KernelPtrArrayTmaWarpSpecializedCooperative;
  using Epilogue = cutlass::epilogue::PtrArrayTmaWarpSpecializedCooperative;
};
// A tile of one group of warps; another group stores one meanwhile.
struct ShortTiles {
  using Tile = Shape<_64, _256, _64>;
  using Cluster = Shape<_1, _1, _1>;
  using Mainloop = cutlass::gemm::KernelPtrArrayTmaWarpSpecializedPingpong;
  using Epilogue = cutlass::epilogue::PtrArrayTmaWarpSpecializedPingpong;
};

using Tiles = std::conditional_t<kLine.short_tiles, ShortTiles, TallTiles>;
using Tile = Tiles::Tile;
using Cluster = Tiles::Cluster;

// D = A B + bias, A B + D or A B, rounded once.
template <template <class> class Compute, class... Sources>
using Rounded = fusion::Sm90EVT<fusion::Sm90Compute<Compute, Result, float, cutlass::FloatRoundStyle::round_to_nearest>,
                                Sources...>;
using Fusion = std::conditional_t<
    kAddsToD, Rounded<cutlass::plus, fusion::Sm90SrcFetch<float>, fusion::Sm90AccFetch>,
    std::conditional_t<kIsForward,
                       Rounded<cutlass::plus, fusion::Sm90RowBroadcast<0, Tile, float*, float>, fusion::Sm90AccFetch>,
                       Rounded<cutlass::epilogue::thread::Identity, fusion::Sm90AccFetch>>>;

constexpr int kAlignment = 16 / sizeof(Result);
using Epilogue =
    cutlass::epilogue::collective::CollectiveBuilder<cutlass::arch::Sm90, cutlass::arch::OpClassTensorOp, Tile, Cluster,
                                                     cutlass::epilogue::collective::EpilogueTileAuto, float, float,
                                                     std::conditional_t<kAddsToD, Result, void>, Rows*, kAlignment,
                                                     Result, Rows*, kAlignment, Tiles::Epilogue, Fusion>::CollectiveOp;
using Mainloop = cutlass::gemm::collective::CollectiveBuilder<
    cutlass::arch::Sm90, cutlass::arch::OpClassTensorOp, Operand, std::conditional_t<kAddsToD, Columns, Rows>*, 8,
    Operand, std::conditional_t<kIsForward, Columns, Rows>*, 8, float, Tile, Cluster,
    cutlass::gemm::collective::StageCountAutoCarveout<static_cast<int>(sizeof(Epilogue::SharedStorage))>,
    Tiles::Mainloop>::CollectiveOp;
using Kernel = cutlass::gemm::kernel::GemmUniversal<Groups, Mainloop, Epilogue>;
using Gemm = cutlass::gemm::device::GemmUniversalAdapter<Kernel>;

// What stands in GroupArrays is what it reads.
template <class Stride>
Stride* strides(int64_t* array) {
  static_assert(sizeof(Stride) == sizeof(int64_t));
  return reinterpret_cast<Stride*>(array);
}
using GroupsShape = Groups::UnderlyingProblemShape;
static_assert(sizeof(GroupsShape) == sizeof(GroupShape) && alignof(GroupsShape) <= alignof(GroupShape));

// What stands beside A B.
template <class Arguments>
void add_sources(const CutlassProducts& products, Arguments& epilogue) {
  if constexpr (kAddsToD) {
    epilogue.ptr_C = const_cast<const Result**>(epilogue.ptr_D);
    epilogue.dC = strides<Kernel::InternalStrideC>(products.arrays.d_stride);
  } else if constexpr (kIsForward) {
    if (products.has_bias) epilogue.thread = {{products.arrays.bias}, {}, {}};
  }
}

Gemm::Arguments arguments(const CutlassProducts& products, const GroupShape* on_host, int multiprocessors) {
  const GroupArrays& arrays = products.arrays;
  Gemm::Arguments all{};
  all.mode = cutlass::gemm::GemmUniversalMode::kGrouped;
  all.problem_shape = {products.num_groups, reinterpret_cast<GroupsShape*>(arrays.shapes),
                       reinterpret_cast<const GroupsShape*>(on_host)};
  all.mainloop = {reinterpret_cast<const Operand**>(arrays.a), strides<Kernel::InternalStrideA>(arrays.a_stride),
                  reinterpret_cast<const Operand**>(arrays.b), strides<Kernel::InternalStrideB>(arrays.b_stride)};
  all.epilogue.ptr_D = reinterpret_cast<Result**>(arrays.d);
  all.epilogue.dD = strides<Kernel::InternalStrideD>(arrays.d_stride);
  add_sources(products, all.epilogue);
  all.hw_info.sm_count = multiprocessors;
  return all;
}

bool takes(const CutlassProducts& products, const GroupShape* shapes) {
  return Gemm::can_implement(arguments(products, shapes, 1)) == cutlass::Status::kSuccess;
}

int64_t workspace_bytes(const CutlassProducts& products, int multiprocessors) {
  return static_cast<int64_t>(Gemm::get_workspace_size(arguments(products, nullptr, multiprocessors)));
}

const char* launch(const CutlassProducts& products, int multiprocessors, void* workspace, void* stream) {
  const Gemm::Arguments all = arguments(products, nullptr, multiprocessors);
  const auto at = static_cast<cudaStream_t>(stream);
  Gemm gemm;
  cutlass::Status status = Gemm::can_implement(all);
  if (status == cutlass::Status::kSuccess) status = gemm.initialize(all, workspace, at);
  if (status == cutlass::Status::kSuccess) status = gemm.run(at);
  return status == cutlass::Status::kSuccess ? nullptr : cutlassGetStatusString(status);
}

}  // namespace

#define TROUPE_JOIN(a, b) a##b
#define TROUPE_NAME_OF_PART(name) TROUPE_JOIN(kCutlass, name)
const CutlassPart TROUPE_NAME_OF_PART(TROUPE_CUTLASS_NAME) = {CUTLASS_VERSION, takes, workspace_bytes, launch};

}  // namespace troupe::cuda
