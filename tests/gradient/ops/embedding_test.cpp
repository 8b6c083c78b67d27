#include "ops/embedding.h"

#include <gtest/gtest.h>

#include <vector>

#include "gradient.h"

namespace troupe {
namespace {

TEST(EmbeddingGradient, MatchesCentralDifferences) {
  constexpr int64_t T = 7, V = 5, positions = 9, D = 3;
  const Dropout dropout{.probability = 0.25f, .key = 7, .first_row = 11};
  const std::vector<int32_t> tokens = {3, 0, 3, 4, 2, 3, 0}, where = {2, 3, 4, 5, 2, 3, 8};
  auto embed = test::normal_values(V * D, 1), table = test::normal_values(positions * D, 2);
  const auto dx = test::normal_values(T * D, 3);
  std::vector<double> x(T * D), dembed(V * D, 0.0), dtable(positions * D, 0.0);
  const auto loss = [&] {
    run(EmbeddingForward<F64>{
        tokens, where, {embed.data(), V, D}, {table.data(), positions, D}, 1.75, dropout, {x.data(), T, D}});
    return test::dot(dx, x);
  };
  run(EmbeddingBackward<F64>{.tokens_T = tokens,
                             .positions_T = where,
                             .pad_id = -1,
                             .scale = 1.75,
                             .dropout = dropout,
                             .dx_TD = {dx.data(), T, D},
                             .dembed_VD = {dembed.data(), V, D},
                             .dpositions_PD = {dtable.data(), positions, D}});
  test::expect_gradient(loss, embed, dembed);
  test::expect_gradient(loss, table, dtable);
}

TEST(EmbeddingGradient, LeavesThePadRowsAlone) {
  constexpr int64_t T = 3, D = 2;
  const std::vector<int32_t> tokens = {1, 2, 1}, where = {1, 2, 3};
  const std::vector<double> dx = {1, 2, 3, 4, 5, 6};
  std::vector<double> dembed(4 * D, 0.5), dtable(4 * D, 0.5);
  run(EmbeddingBackward<F64>{.tokens_T = tokens,
                             .positions_T = where,
                             .pad_id = 1,
                             .scale = 2.0,
                             .dx_TD = {dx.data(), T, D},
                             .dembed_VD = {dembed.data(), 4, D},
                             .dpositions_PD = {dtable.data(), 4, D}});
  EXPECT_EQ(dembed, (std::vector<double>{0.5, 0.5, 0.5, 0.5, 6.5, 8.5, 0.5, 0.5}));
  EXPECT_EQ(dtable, (std::vector<double>{0.5, 0.5, 0.5, 0.5, 3.5, 4.5, 5.5, 6.5}));
}

}  // namespace
}  // namespace troupe
