// What cuDNN is asked, by a stand-in that keeps and computes it; and what it is not asked.
#include "kernels/cuda/cudnn.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "attention_case.h"
#include "implementations.h"
#include "ops/attention.h"
#include "recorded_cudnn.h"

namespace troupe {
namespace {

using test::AttentionCase, test::AttentionSizes, test::RecordedDnn;
using testing::HasSubstr;

class CuDnn : public testing::Test {
 protected:
  void SetUp() override {
    if (!cuda::machine() || cuda::machine()->stream()) GTEST_SKIP() << "the grid is not emulated";
  }
};

// Columns of one matrix, as a model has them.
constexpr AttentionSizes kModel = {2, 24, 4, 16, 0, false, {}, 2, 0, 0, true};

template <class Task>
const Implementation<Task>& row_of_cudnn(const Task&) {
  return test::row_named<Task>("cudnn");
}

AttentionForward<Bf16> forward_of(AttentionCase<Bf16>& c) {
  return {c.shape,     std::as_const(c.q).view(), std::as_const(c.k).view(), std::as_const(c.v).view(), c.ctx.view(),
          c.lse_span()};
}
AttentionBackward<Bf16> backward_of(AttentionCase<Bf16>& c) {
  const auto gradients = c.split(c.dqkv.view());
  return {c.shape,
          std::as_const(c.q).view(),
          std::as_const(c.k).view(),
          std::as_const(c.v).view(),
          std::as_const(c.ctx).view(),
          c.lse_span(),
          std::as_const(c.dctx).view(),
          gradients.q_THC,
          gradients.k_TGC,
          gradients.v_TGC};
}

TEST_F(CuDnn, ComesBeforeOurOwnKernels) {
  std::vector<std::string> names;
  for (const auto& row : AttentionForward<Bf16>::implementations())
    if (row.device == Device::kCuda) names.emplace_back(row.name);
  EXPECT_EQ(names, (std::vector<std::string>{"cudnn", "tensor_cores", "cuda"}));
  EXPECT_EQ(row_of_cudnn(AttentionForward<Bf16>{}).unavailable(), "the grid is emulated");
  EXPECT_EQ(row_of_cudnn(AttentionForward<F32>{}).unavailable(), "cuDNN's attention takes bf16 alone");
}

TEST_F(CuDnn, StridesReachIntoTheMatricesAtHand) {
  AttentionCase<Bf16> c(kModel);
  const RecordedDnn library(true);
  test::run_as("cudnn", forward_of(c));
  test::run_as("cudnn", backward_of(c));
  ASSERT_EQ(RecordedDnn::calls().size(), 2);
  const auto& [forward, forward_data] = RecordedDnn::calls()[0];
  const auto& [backward, backward_data] = RecordedDnn::calls()[1];
  cuda::DnnAttention expected{.B = 2, .S = 24, .H = 4, .G = 2, .C = 16, .scale = 0.25f, .strides = {64, 32, 40, 64}};
  EXPECT_EQ(forward, expected);
  expected.backward = true;
  expected.strides = {64, 32, 40, 64, 0, 64, 128, 128, 128};
  EXPECT_EQ(backward, expected);
  EXPECT_EQ(forward_data[cuda::kDnnLse], c.lse.view().data);
  EXPECT_EQ(backward_data[cuda::kDnnDk], c.dqkv.view().data + 64);
  EXPECT_EQ(backward_data[cuda::kDnnDv], c.dqkv.view().data + 96);
}

TEST_F(CuDnn, GivesWhatTheReferenceGives) {
  const RecordedDnn library(true);
  int64_t taken = 0;
  for (const AttentionSizes& sizes : test::kAttentionSizes) {
    if (!sizes.aligned) continue;
    AttentionCase<Bf16> c(sizes);
    c.run([&](auto&&...) { test::run_as("cudnn", forward_of(c)); },
          [&](auto&&...) { test::run_as("cudnn", backward_of(c)); });
    c.expect_matches_reference(test::describe(sizes));
    ++taken;
  }
  EXPECT_EQ(static_cast<int64_t>(RecordedDnn::calls().size()), 2 * taken);
}

// Its backward pass keeps S x S numbers a head: many sequences are several calls, as even as may be.
TEST_F(CuDnn, BackwardGoesInPartsThatFitItsMemory) {
  const int64_t S = 8192;  // 256 MiB a sequence of two heads
  AttentionCase<Bf16> c({6, S, 2, 8, 0, false, {}, 2, 0, 0, true});
  const RecordedDnn library(false);
  test::run_as("cudnn", forward_of(c));
  test::run_as("cudnn", backward_of(c));
  std::vector<int64_t> sequences;
  for (const auto& call : RecordedDnn::calls()) sequences.push_back(call.attention.B);
  EXPECT_EQ(sequences, (std::vector<int64_t>{6, 3, 3}));
  const cuda::DnnData& second = RecordedDnn::calls()[2].data;
  EXPECT_EQ(second[cuda::kDnnQ], &c.q(3 * S, 0));
  EXPECT_EQ(second[cuda::kDnnDk], &c.dqkv(3 * S, 16));
  EXPECT_EQ(second[cuda::kDnnLse], c.lse.view().data + 3 * 2 * S);
}

TEST_F(CuDnn, RefusesWhatItHasNot) {
  const RecordedDnn library(false);
  const auto reasons = [](const AttentionSizes& sizes) {
    AttentionCase<Bf16> c(sizes);
    const auto forward = forward_of(c);
    const auto backward = backward_of(c);
    const std::string reason = row_of_cudnn(forward).refusal(forward);
    EXPECT_EQ(reason, row_of_cudnn(backward).refusal(backward));
    return reason;
  };
  EXPECT_EQ(reasons(kModel), "");
  EXPECT_EQ(reasons({1, 24, 1, 256, 0, false, {}, 1, 7, 0, true}), "");
  EXPECT_THAT(reasons({1, 24, 1, 16, 0.1f, false, {}, 1, 0, 0, true}), HasSubstr("dropout"));
  EXPECT_THAT(reasons({1, 24, 1, 16, 0, true, {}, 1, 0, 0, true}), HasSubstr("mask of single keys"));
  EXPECT_THAT(reasons({1, 24, 1, 16, 0, false, {}, 1, 0, 8, true}), HasSubstr("texts"));
  EXPECT_THAT(reasons({1, 24, 1, 20, 0, false, {4, 0}, 1, 0, 0, true}), HasSubstr("20 columns, not a multiple of 8"));
  EXPECT_THAT(reasons({1, 24, 1, 264, 0, false, {}, 1, 0, 0, true}), HasSubstr("264 columns, more than 256"));
  EXPECT_THAT(reasons({1, 24, 1, 16, 0, false, {}, 1, 0, 0, false}), HasSubstr("multiples of 16 bytes"));
  EXPECT_THAT(reasons({1, 24, 1, 16, 0, false, {0, 4}, 1, 0, 0, true}), HasSubstr("multiples of 16 bytes"));
  EXPECT_THAT(reasons({0, 24, 1, 16, 0, false, {}, 1, 0, 0, true}), HasSubstr("no tokens"));
}

TEST_F(CuDnn, RefusesVersionsByNumber) {
  EXPECT_EQ(cuda::dnn_version_problem(90500, true), "");
  EXPECT_EQ(cuda::dnn_version_problem(91900, true), "");
  EXPECT_EQ(cuda::dnn_version_problem(91400, false), "");
  EXPECT_EQ(cuda::dnn_version_problem(91400, true), "cuDNN 9.14.0: its sliding window is wrong");
  EXPECT_EQ(cuda::dnn_version_problem(90499, false), "cuDNN 9.4.99: expected 9.5.0 or newer");
  EXPECT_EQ(cuda::dnn_version_problem(91001, false), "cuDNN 9.10.1: its attention is wrong (9.10.2 mends it)");
}

}  // namespace
}  // namespace troupe
