// Blocked attention on AMX tiles emulated in plain C++, against the reference in double. The instructions themselves
// are tested by parity/ops on machines that have them.
#if defined(__x86_64__)
#include <gtest/gtest.h>

#include "attention_case.h"
#include "base/isa.h"
#include "kernels/attention_blocked.h"

namespace troupe {
namespace isa_amx_emulated {
extern const AttentionBlocks attention_kernels;
}
namespace {

TEST(EmulatedTilesAttention, MatchesTheReference) {
  if (detected_isa() < Isa::kAvx512Bf16)
    GTEST_SKIP() << "conversions need AVX512-BF16, this machine has " << name_of_enum(detected_isa());
  const AttentionBlocks& blocks = isa_amx_emulated::attention_kernels;
  Context context;
  for (const test::AttentionSizes& sizes : test::kAttentionSizes) {
    test::AttentionCase<Bf16> problem(sizes);
    problem.run([&](auto... args) { blocked_attention_forward<Bf16>(blocks, args..., context); },
                [&](auto... args) { blocked_attention_backward<Bf16>(blocks, args..., context); });
    problem.expect_matches_reference(test::describe(sizes));
  }
}

}  // namespace
}  // namespace troupe
#endif
