#include "study/cluster_plan.h"

#include <gtest/gtest.h>

#include <fstream>

#include "error_of.h"
#include "model/decoder_parameters.h"
#include "model/flops.h"
#include "model/presets.h"
#include "study/memory.h"
#include "temporary_folder.h"

namespace troupe {
namespace {

PlannedTraining small_training() {
  PlannedTraining training{.precision = Precision::kFp32, .seq_len = 16, .batch_sequences = 32};
  ModelConfig& model = training.model;
  model.num_layers = 2, model.d_model = 8, model.num_heads = 2, model.d_ff = 16, model.vocab_size = 50, model.context = 16;
  model.moe.num_experts = 6, model.moe.every = 2, model.moe.expert_d_ff = 16, model.moe.top_k = 2;
  model.moe.group_sequences = 1;
  return training;
}

ClusterConfig small_cluster() {
  ClusterConfig cluster{.nodes = 2, .ranks_per_node = 2, .gb_per_rank = 1.0, .tflops = 1e-3};
  cluster.within = {.gb_per_s = 2.0, .microseconds = 3.0};
  cluster.between = {.gb_per_s = 0.5, .microseconds = 40.0};
  return cluster;
}

TEST(ClusterPlan, FollowsTheFormulasByHand) {
  const PlannedTraining training = small_training();
  const ClusterLayout layout = plan_layout(training, small_cluster(), 2, 16, false);
  EXPECT_EQ(layout.ranks, 4);
  EXPECT_EQ(layout.micro_batches, 2);
  EXPECT_EQ(layout.sequences_per_rank, 4);
  EXPECT_EQ(layout.experts_per_rank, 2);
  // 64 tokens of a rank in a micro-batch, two rows each: 8 floats there and back, in both directions; 6 counts of 8 bytes.
  const double rows = 2 * (128 * 8 * 4 * 4 + 6 * 8);
  EXPECT_DOUBLE_EQ(layout.rows.within, rows / 4);
  EXPECT_DOUBLE_EQ(layout.rows.between, rows / 2);
  EXPECT_DOUBLE_EQ(layout.logits.within + layout.logits.between, 0.0);
  double dense = 0.0;
  for (const Parameter& parameter : make_parameter_table(training.model).entries())
    if (parameter.role == Role::kDense) dense += 4.0 * static_cast<double>(parameter.size());
  EXPECT_DOUBLE_EQ(layout.dense.between, 2 * dense / 2);
  // Five exchanges in each of two micro-batches, each a message to a neighbour and two to others.
  EXPECT_NEAR(layout.seconds.rows, rows / 4 / 2e9 + rows / 2 / 0.5e9 + 10 * 1e-6 * (3 + 2 * 40), 1e-12);
  EXPECT_NEAR(layout.seconds.dense, 2 * dense / 4 / 2e9 + 2 * dense / 2 / 0.5e9 + 2 * 1e-6 * (3 + 2 * 40), 1e-12);
  // Two ranks hold two of six experts, which get a third more than the mean.
  const double experts = 3.0 * forward_flops_per_token(training.model, 16).experts;
  EXPECT_NEAR(layout.seconds.compute, 128 * (train_flops_per_token(training.model, 16) + experts / 3.0) / 1e9, 1e-15);
  EXPECT_DOUBLE_EQ(layout.tokens_per_s, 512 / layout.seconds.step());
}

// Two experts of four ranks: two copies each, on a node.
TEST(ClusterPlan, CopiesOfExpertsSumTheirGradients) {
  PlannedTraining training = small_training();
  training.model.moe.num_experts = 2;
  const ClusterLayout layout = plan_layout(training, small_cluster(), 2, 16, false);
  EXPECT_EQ(layout.experts_per_rank, 1);
  EXPECT_EQ(layout.copies_per_expert, 2);
  double expert = 0.0;
  for (const Parameter& parameter : make_parameter_table(training.model).entries())
    if (parameter.role == Role::kExpert && parameter.expert == 0) expert += 4.0 * static_cast<double>(parameter.size());
  EXPECT_DOUBLE_EQ(layout.copies.within, 2 * expert / 2);  // to the other one, and back
  EXPECT_DOUBLE_EQ(layout.copies.between, 0.0);
  EXPECT_NEAR(layout.seconds.copies, expert / 2e9 + 2 * 3e-6, 1e-12);
  EXPECT_DOUBLE_EQ(layout.rows.between, 2 * (128 * 8 * 4 * 4 + 4 * 8) / 2.0);  // parts of experts are as many as ranks
  EXPECT_DOUBLE_EQ(layout.seconds.step(), layout.seconds.compute + layout.seconds.rows + layout.seconds.dense + layout.seconds.copies);
  ClusterConfig apart = small_cluster();
  apart.nodes = 4, apart.ranks_per_node = 1;
  EXPECT_DOUBLE_EQ(plan_layout(training, apart, 4, 16, false).copies.between, expert);
  // Three experts: one has two copies, the others' holders get all of their rows.
  training.model.moe.num_experts = 3;
  const ClusterLayout uneven = plan_layout(training, small_cluster(), 2, 16, false);
  EXPECT_EQ(uneven.copies_per_expert, 2);
  training.model.moe.num_experts = 4;
  const ClusterLayout even = plan_layout(training, small_cluster(), 2, 16, false);
  EXPECT_EQ(even.copies_per_expert, 1);
  EXPECT_DOUBLE_EQ(even.seconds.copies, 0.0);
  EXPECT_GT(uneven.seconds.compute, even.seconds.compute);
}

TEST(ClusterPlan, OneRankIsTheEstimateOfOneProcess) {
  const PlannedTraining training = small_training();
  ClusterConfig cluster = small_cluster();
  cluster.nodes = cluster.ranks_per_node = 1;
  const ClusterLayout layout = plan_layout(training, cluster, 1, 8, true);
  EXPECT_EQ(layout.memory.total(), estimate_memory(training.model, 8, 16, training.precision).total(true));
  EXPECT_DOUBLE_EQ(layout.seconds.step(), layout.seconds.compute);
  EXPECT_TRUE(layout.fits);
}

TEST(ClusterPlan, CountsLogitsOfAllTokensWhereAGroupIsTheMicroBatch) {
  PlannedTraining training = small_training();
  training.model.moe.group_sequences = 0;
  const ClusterLayout layout = plan_layout(training, small_cluster(), 2, 16, false);
  EXPECT_DOUBLE_EQ(layout.logits.within + layout.logits.between, 2 * 3 * 64 * 6 * 4);  // its own to three others, twice
  training.own_groups = true;
  EXPECT_DOUBLE_EQ(plan_layout(training, small_cluster(), 2, 16, false).logits.between, 0.0);
}

TEST(ClusterPlan, ChoosesTheFastestThatFits) {
  PlannedTraining training = small_training();
  ClusterConfig cluster = small_cluster();
  std::vector<ClusterLayout> layouts = plan_layouts(training, cluster);
  ASSERT_EQ(layouts.size(), 2u);  // both nodes, one
  EXPECT_EQ(layouts[0].ranks, 4);
  EXPECT_EQ(layouts[1].ranks, 2);
  EXPECT_EQ(layouts[0].micro_batches, 1);  // fewest messages
  EXPECT_FALSE(layouts[0].recompute);
  cluster.gb_per_rank = 1e-9 * static_cast<double>(layouts[0].memory.total() - 1);
  layouts = plan_layouts(training, cluster);
  EXPECT_TRUE(layouts[0].fits);
  EXPECT_TRUE(layouts[0].micro_batches > 1 || layouts[0].recompute);
  cluster.gb_per_rank = 1e-9;
  EXPECT_FALSE(plan_layouts(training, cluster)[0].fits);
  training.model.moe.group_sequences = 16;  // two groups for four ranks
  EXPECT_EQ(plan_layouts(training, small_cluster()).size(), 1u);
  training.model.moe.group_sequences = 32;
  EXPECT_EQ(test::error_of([&] { plan_layouts(training, small_cluster()); }, ErrorCode::kUsage),
            "cost --plan: expected a batch with a routing group of 32 sequences for every rank, got 32 sequences for 2 ranks "
            "of a node (fewer ranks_per_node, or a larger batch)");
}

TEST(ClusterPlan, HoldsTheLargestModelOfTheStudyOn512Nodes) {
  const Preset& preset = find_preset("moe-1.1t");
  PlannedTraining training{.model = make_config(preset), .seq_len = 2048, .batch_sequences = 976, .own_groups = true};
  ClusterConfig cluster{.nodes = 512, .ranks_per_node = 1, .gb_per_rank = 256.0, .tflops = 2.0};
  cluster.between = {.gb_per_s = 12.5, .microseconds = 5.0};
  const ClusterLayout layout = plan_layout(training, cluster, 512, 976, true);
  EXPECT_EQ(layout.experts_per_rank, 1);
  // Weights of one expert in each of 16 layers, and all that is dense.
  const MemoryEstimate whole = estimate_memory(training.model, 1, 2048, training.precision);
  EXPECT_EQ(layout.memory.weights, whole.weights.total - whole.weights.experts + whole.weights.experts / 512);
  EXPECT_LT(layout.memory.optimizer, layout.memory.weights);
  EXPECT_GT(layout.tokens_per_s, 0.0);  // without a link within
}

TEST(ClusterPlan, TakesNoTimeOnALinkThatIsNotThere) {
  const PlannedTraining training = small_training();
  ClusterConfig one_node = small_cluster(), alone = small_cluster();
  one_node.nodes = 1, one_node.between = {};
  alone.ranks_per_node = 1, alone.within = {};
  ClusterConfig with_link = one_node;
  with_link.between = small_cluster().between;
  EXPECT_DOUBLE_EQ(plan_layout(training, one_node, 1, 16, false).seconds.step(),
                   plan_layout(training, with_link, 1, 16, false).seconds.step());
  for (const ClusterConfig& cluster : {one_node, alone}) {
    const ClusterLayout best = plan_layouts(training, cluster).front();
    EXPECT_GT(best.seconds.rows, 0.0);
    EXPECT_GT(best.tokens_per_s, 0.0);
    EXPECT_EQ(best.micro_batches, 1);  // fewest messages
    EXPECT_FALSE(best.recompute);
  }
}

TEST(ClusterConfig, NamesFileAndKey) {
  const test::TemporaryFolder folder;
  const auto error = [&](const char* text) {
    std::ofstream(folder / "c.toml") << text;
    return test::error_of([&] { load_cluster(folder / "c.toml"); }, ErrorCode::kUsage);
  };
  const std::string file = (folder / "c.toml").string();
  EXPECT_EQ(error("nodes = 2\ntflops = 1\n"), file + ": gb_per_rank: expected a number above 0, got none");
  EXPECT_EQ(error("nodes = 2\ntflops = 1\ngb_per_rank = 2\n"), file + ": between.gb_per_s: expected a number above 0, got none");
  EXPECT_EQ(error("ranks_per_node = 2\ntflops = 1\ngb_per_rank = 2\n"), file + ": within.gb_per_s: expected a number above 0, got none");
  EXPECT_EQ(error("node = 2\n"), file + ":1: node: expected a known key, got this one (did you mean nodes?)");
}

}  // namespace
}  // namespace troupe
