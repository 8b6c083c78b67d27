// The AMX products with their tiles emulated in plain C++, against the reference in double: layout, blocking, tails and
// few rows. The instructions themselves are tested by parity/ops on machines that have them.
#if defined(__x86_64__)
#include <gtest/gtest.h>

#include "base/isa.h"
#include "kernels/linear_blocked.h"
#include "kernels/table.h"
#include "linear_case.h"

namespace troupe {
namespace isa_amx_emulated {
extern const GemmTable gemm_kernels;
}
namespace {

using test::LinearCase;
using test::LinearSizes;

class EmulatedTiles : public testing::Test {
 protected:
  void SetUp() override {
    if (detected_isa() < Isa::kAvx512)
      GTEST_SKIP() << "packing needs AVX-512, this machine has " << name_of_enum(detected_isa());
  }

  // The three products with packed weights and with weights packed on the fly.
  static void check(const LinearSizes& sizes) {
    SCOPED_TRACE("rows of expert 0: " + std::to_string(sizes.rows[0]) + ", out " + std::to_string(sizes.out) + ", in " +
                 std::to_string(sizes.in));
    const GemmKernels& gemm = *isa_amx_emulated::gemm_kernels.bf16;
    const EpilogueKernels& epilogue_kernels = kernels().epilogue;
    const LinearCase<Bf16> problem(sizes);
    std::vector<uint16_t> forward(packed_forward_bytes(gemm, problem.bank) / 2 + 1);
    std::vector<uint16_t> backward(packed_backward_bytes(gemm, problem.bank) / 2 + 1);
    Context context;
    pack_forward_weights(gemm, problem.bank, forward.data(), context);
    pack_backward_weights(gemm, problem.bank, backward.data(), context);
    for (const bool packed : {false, true}) {
      const BlockedLinear how = {gemm, epilogue_kernels, context, packed ? forward.data() : nullptr,
                                 packed ? backward.data() : nullptr};
      problem.check_forward([&](const auto& bank, auto x, const int64_t* offsets,
                                const auto& epilogue) { blocked_forward<Bf16>(how, bank, x, offsets, epilogue); },
                            {.real_output = true});
      problem.check_backward_input(
          [&](const auto& bank, auto dy, const int64_t* offsets, const auto& epilogue) {
            blocked_backward_input<Bf16>(how, bank, dy, offsets, epilogue);
          },
          {.real_output = true});
    }
    problem.check_backward_weight(
        [&](const auto& bank, auto dy, auto x, const int64_t* offsets, float* dw, float* db) {
          blocked_backward_weight<Bf16>({gemm, epilogue_kernels, context}, bank, dy, x, offsets, dw, db);
        },
        true);
  }
};

TEST_F(EmulatedTiles, RowsAroundTilesAndBlocks) {
  for (const int64_t rows : {0, 1, 2, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 511, 512, 513})
    check({.rows = {rows}, .out = 40, .in = 35});
}

TEST_F(EmulatedTiles, WidthsAroundTilesAndBlocks) {
  for (const int64_t out : {0, 1, 15, 16, 17, 31, 32, 33, 127, 128, 129, 383, 384, 385})
    check({.rows = {5}, .out = out, .in = 33});
}

TEST_F(EmulatedTiles, DepthsAroundTilesAndBlocks) {
  for (const int64_t in : {0, 1, 2, 31, 32, 33, 63, 64, 65, 511, 512, 513, 767, 768, 769}) {
    check({.rows = {6}, .out = 20, .in = in});
    check({.rows = {6}, .out = in, .in = 20});
  }
  for (const int64_t rows : {383, 384, 385}) check({.rows = {rows}, .out = 20, .in = 34});  // of the weight gradient
}

// Sums of products deeper than a block of depth wait in the workspace, all columns of a row block at once.
TEST_F(EmulatedTiles, DeepProductsOfManyRowsAndColumns) {
  check({.rows = {70}, .out = 900, .in = 800});
  check({.rows = {257}, .out = 33, .in = 1540});
}

TEST_F(EmulatedTiles, StridesAndUnevenExperts) {
  check({.rows = {0, 1, 150, 0, 13, 2, 0}, .out = 66, .in = 50, .layout = {5, 7}});
  check({.rows = {70}, .out = 100, .in = 100, .layout = {0, 1}, .bias = false});
}

}  // namespace
}  // namespace troupe
#endif
