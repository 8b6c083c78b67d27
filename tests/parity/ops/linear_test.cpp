// Every row of the lists of linear products that runs on this machine against the reference in double.
#include "ops/linear.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <cstdlib>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "base/isa.h"
#include "implementations.h"
#include "kernels/onednn/gemm.h"
#include "kernels/past_caches.h"
#include "kernels/table.h"
#include "linear_case.h"
#include "parity.h"
#include "setting.h"

namespace troupe {
namespace {

using test::BackwardOptions;
using test::ForwardOptions;
using test::Layout;
using test::LinearCase;
using test::LinearSizes;
using test::Setting;

// A row of the lists, with the block products that it drives (nullptr: the reference).
struct Row {
  std::string_view name;
  const GemmKernels* gemm = nullptr;
};

template <class P>
LinearBank<P> bank_of(const WeightView<P>& view) {
  return LinearBank<P>(view.num_experts, view.out, view.in, view.weight, view.bias);
}

template <class P>
RowOffsets span_of(const WeightView<P>& view, const int64_t* offsets) {
  return {offsets, static_cast<size_t>(view.num_experts) + 1};
}

template <class P>
void check_forward(const Row& row, const LinearSizes& sizes, ForwardOptions options) {
  options.may_round_sums = row.name == "cublaslt" || row.name == "cutlass";
  LinearCase<P>(sizes).check_forward(
      [&](const auto& view, auto x, const int64_t* offsets, const auto& epilogue) {
        test::run_as(row.name, LinearForward<P>{bank_of(view), x, span_of(view, offsets), epilogue});
      },
      options);
}

template <class P>
void check_backward_input(const Row& row, const LinearSizes& sizes, BackwardOptions options) {
  options.may_round_sums =
      (row.name == "cublaslt" || row.name == "cutlass") && options.activation != Activation::kNone;
  LinearCase<P>(sizes).check_backward_input(
      [&](const auto& view, auto dy, const int64_t* offsets, const auto& epilogue) {
        test::run_as(row.name, LinearBackwardInput<P>{bank_of(view), dy, span_of(view, offsets), epilogue});
      },
      options);
}

template <class P>
void check_backward_weight(const Row& row, const LinearSizes& sizes, bool with_bias = true) {
  LinearCase<P>(sizes).check_backward_weight(
      [&](const auto& view, auto dy, auto x, const int64_t* offsets, float* dw, float* db) {
        test::run_as(row.name, LinearBackwardWeight<P>{bank_of(view), dy, x, span_of(view, offsets), dw, db});
      },
      with_bias);
}

template <class P>
void check_all(const Row& row, const LinearSizes& sizes) {
  SCOPED_TRACE("rows of expert 0: " + std::to_string(sizes.rows[0]) + ", out " + std::to_string(sizes.out) + ", in " +
               std::to_string(sizes.in));
  check_forward<P>(row, sizes, {});
  check_forward<P>(row, sizes, {.real_output = true});
  check_backward_input<P>(row, sizes, {});
  check_backward_input<P>(row, sizes, {.real_output = true});
  check_backward_weight<P>(row, sizes);
}

template <class P>
const GemmKernels* gemm_of(std::string_view name) {
  constexpr bool kReal = std::is_same_v<P, F32>;
  if (name == "onednn") return kReal ? &onednn::gemm_f32() : &onednn::gemm_bf16();
  for (const Isa level : {Isa::kGeneric, Isa::kAvx2, Isa::kAvx512, Isa::kAvx512Bf16, Isa::kAmx})
    if (name == name_of_enum(level)) return kReal ? kernels(level).gemm.f32 : kernels(level).gemm.bf16;
  return nullptr;
}

// body(row) for every row that runs here, but those which refuse nearly all shapes unless `grouped`.
template <class P, class Body>
void for_each_row(const Body& body, bool grouped = false) {
  for (const std::string_view name : test::usable<LinearForward<P>>()) {
    if ((name == "grouped" || name == "cutlass") && !grouped) continue;
    SCOPED_TRACE(std::string(name));
    const Setting way("TROUPE_CUDA_GROUPED", name == "cutlass" ? "cutlass" : "");
    body(Row{name, gemm_of<P>(name)});
  }
}

// 0, 1 and the neighbourhood of every step and block of that dimension.
std::set<int64_t> critical_sizes(int64_t step, int64_t block) {
  std::set<int64_t> sizes = {0, 1, 2, 3, 15, 16, 17};
  for (const int64_t size : {step, block})
    for (const int64_t near : {size - 1, size, size + 1}) sizes.insert(near);
  sizes.erase(-1);
  return sizes;
}

template <class P>
class LinearParity : public testing::Test {};
using Precisions = testing::Types<F32, Bf16>;
TYPED_TEST_SUITE(LinearParity, Precisions);

TYPED_TEST(LinearParity, RowsAroundEveryBlockSize) {
  for_each_row<TypeParam>([](const auto& row) {
    const int64_t step = row.gemm ? row.gemm->row_step : 1, block = row.gemm ? row.gemm->row_block : 8;
    for (const int64_t rows : critical_sizes(step, block))
      check_all<TypeParam>(row, {.rows = {rows}, .out = 37, .in = 21});
  });
}

TYPED_TEST(LinearParity, WidthsAroundEveryBlockSize) {
  for_each_row<TypeParam>([](const auto& row) {
    const int64_t step = row.gemm ? row.gemm->col_step : 1, block = row.gemm ? row.gemm->col_block : 8;
    for (const int64_t out : critical_sizes(step, block))
      check_all<TypeParam>(row, {.rows = {5}, .out = out, .in = 40});
  });
}

TYPED_TEST(LinearParity, DepthsAroundEveryBlockSize) {
  for_each_row<TypeParam>([](const auto& row) {
    const int64_t step = row.gemm ? row.gemm->k_step : 1, block = row.gemm ? row.gemm->k_block : 8;
    for (const int64_t in : critical_sizes(step, block)) {
      check_all<TypeParam>(row, {.rows = {6}, .out = 19, .in = in});
      check_all<TypeParam>(row, {.rows = {in}, .out = 19, .in = 34});  // the depth of the weight gradient
      check_all<TypeParam>(row, {.rows = {6}, .out = in, .in = 18});   // and of the input gradient
    }
  });
}

TYPED_TEST(LinearParity, StridesAndMisalignedPointers) {
  for_each_row<TypeParam>([](const auto& row) {
    for (const Layout layout : {Layout{0, 1}, Layout{3, 0}, Layout{5, 7}, Layout{64, 31}})
      check_all<TypeParam>(row, {.rows = {29}, .out = 70, .in = 45, .layout = layout});
  });
}

TYPED_TEST(LinearParity, UnevenExpertsSomeWithoutRows) {
  for_each_row<TypeParam>([](const auto& row) {
    check_all<TypeParam>(row, {.rows = {0, 1, 150, 0, 13, 2, 0}, .out = 66, .in = 50});
    check_all<TypeParam>(row, {.rows = {0, 0, 0}, .out = 10, .in = 10});
    check_all<TypeParam>(row, {.rows = {40, 0}, .out = 33, .in = 17, .bias = false});
  });
}

TYPED_TEST(LinearParity, EveryForwardEpilogue) {
  for_each_row<TypeParam>([](const auto& row) {
    const Dropout dropout{0.3f, 77, 5};
    for (const LinearSizes& sizes :
         {LinearSizes{.rows = {31}, .out = 47, .in = 64, .layout = {2, 1}},
          LinearSizes{.rows = {14, 3}, .out = 96, .in = 8}, LinearSizes{.rows = {2}, .out = 515, .in = 8}}) {
      for (const Activation activation : {Activation::kGeluErf, Activation::kGeluTanh})
        for (const bool keep : {false, true})
          check_forward<TypeParam>(row, sizes, {.activation = activation, .keep_pre_activation = keep});
      check_forward<TypeParam>(row, sizes, {.real_output = true, .residual = true});
      check_forward<TypeParam>(row, sizes, {.real_output = true, .residual_aliases = true});
      check_forward<TypeParam>(row, sizes, {.real_output = true, .residual_aliases = true, .dropout = dropout});
      check_forward<TypeParam>(row, sizes, {.real_output = true, .dropout = dropout});
    }
  });
}

TYPED_TEST(LinearParity, BackwardThroughGelu) {
  for_each_row<TypeParam>([](const auto& row) {
    for (const Activation activation : {Activation::kGeluErf, Activation::kGeluTanh})
      for (const bool real : {false, true})
        check_backward_input<TypeParam>(row, {.rows = {31, 4}, .out = 47, .in = 77, .layout = {2, 1}},
                                        {.real_output = real, .activation = activation});
  });
}

// The epilogues alone, of sums that a product left before.
TYPED_TEST(LinearParity, EveryEpilogueByItself) {
  using P = TypeParam;
  const LinearSizes sizes{.rows = {31}, .out = 47, .in = 64, .layout = {2, 1}};
  for (const std::string_view row : test::usable<StoreForward<P>>()) {
    SCOPED_TRACE(std::string(row));
    const auto check = [&](const ForwardOptions& options) {
      LinearCase<P>(sizes).check_forward(
          [&](const auto& view, auto x, const int64_t* offsets, const auto& epilogue) {
            test::Guarded<float> z(x.rows, view.out, {3, 1});
            test::run_as("ref", LinearForward<P>{bank_of(view), x, span_of(view, offsets), {.out_real = z.view()}});
            test::run_as(row, StoreForward<P>{z.view(), epilogue});
          },
          options);
    };
    check({.activation = Activation::kGeluErf, .keep_pre_activation = true});
    check({.activation = Activation::kGeluTanh});
    check({.real_output = true, .residual = true});
    check({.real_output = true, .residual_aliases = true, .dropout = {0.3f, 77, 5}});
    for (const bool real : {false, true})
      LinearCase<P>(sizes).check_backward_input(
          [&](const auto& view, auto dy, const int64_t* offsets, const auto& epilogue) {
            test::Guarded<float> dx(dy.rows, view.in, {3, 1});
            test::run_as("ref",
                         LinearBackwardInput<P>{bank_of(view), dy, span_of(view, offsets), {.out_real = dx.view()}});
            test::run_as(row, StoreBackwardInput<P>{dx.view(), epilogue});
          },
          {.real_output = real, .activation = Activation::kGeluTanh});
  }
}

// What tensor cores take for all experts at once: tiles that are full, that end early, and experts without any.
TYPED_TEST(LinearParity, MultiplesOfEightForManyExperts) {
  for_each_row<TypeParam>(
      [](const auto& row) {
        if (row.name == "ref") return;
        check_all<TypeParam>(row, {.rows = {0, 130, 1, 128, 0, 17}, .out = 136, .in = 72});
        check_all<TypeParam>(row, {.rows = {3, 0, 40}, .out = 8, .in = 16, .bias = false});
        check_all<TypeParam>(row, {.rows = {0, 0}, .out = 8, .in = 8});
        if (row.name == "cutlass")  // in tall tiles
          check_all<TypeParam>(row, {.rows = {600, 0, 300, 257}, .out = 264, .in = 136});
        const LinearSizes sizes{.rows = {35, 6}, .out = 40, .in = 136, .layout = {8, 8}};
        for (const bool keep : {false, true})
          check_forward<TypeParam>(row, sizes, {.activation = Activation::kGeluErf, .keep_pre_activation = keep});
        check_forward<TypeParam>(row, sizes, {.real_output = true, .residual_aliases = true, .dropout = {0.3f, 77, 5}});
        for (const bool real : {false, true})
          check_backward_input<TypeParam>(row, sizes, {.real_output = real, .activation = Activation::kGeluTanh});
        check_backward_weight<TypeParam>(row, sizes, false);
      },
      true);
}

TYPED_TEST(LinearParity, WeightGradientWithoutBias) {
  for_each_row<TypeParam>([](const auto& row) {
    check_backward_weight<TypeParam>(row, {.rows = {31, 4}, .out = 47, .in = 77}, false);
  });
}

TYPED_TEST(LinearParity, ModelShapes) {
  for_each_row<TypeParam>([](const auto& row) {
    if (!row.gemm) return;  // the reference itself
    check_all<TypeParam>(row, {.rows = {130, 0, 9}, .out = 768, .in = 260});
    check_all<TypeParam>(row, {.rows = {100}, .out = 256, .in = 1536});
  });
}

// Threads take tasks in any order, and narrow problems are cut more finely for more threads: bits must not change.
TYPED_TEST(LinearParity, SameBitsForAnyNumberOfThreads) {
  using P = TypeParam;
  using operand = typename P::operand;
  const int threads_before = omp_get_max_threads();
  for_each_row<P>([&](const auto& row) {
    const LinearCase<P> problem({.rows = {300, 0, 70, 1}, .out = 400, .in = row.gemm ? 900 : 30});
    const LinearBank<P> bank = bank_of(problem.bank);
    std::vector<std::vector<unsigned char>> results;
    for (const int threads : {1, 2, 3}) {
      omp_set_num_threads(threads);
      test::Guarded<operand> y(problem.R, problem.N), dx(problem.R, problem.K);
      test::Guarded<float> dw(problem.E * problem.N, problem.K), db(problem.E, problem.N);
      dw.fill(0.5);
      db.fill(0.5);
      ForwardEpilogue<P> forward;
      forward.out_operand = y.view();
      forward.activation = Activation::kGeluErf;
      BackwardEpilogue<P> backward;
      backward.out_operand = dx.view();
      const RowOffsets offsets(problem.offsets);
      test::run_as(row.name, LinearForward<P>{bank, problem.x.view(), offsets, forward});
      test::run_as(row.name, LinearBackwardInput<P>{bank, problem.dy.view(), offsets, backward});
      test::run_as(row.name, LinearBackwardWeight<P>{bank, problem.dy.view(), problem.x.view(), offsets, dw.view().data,
                                                     db.view().data});
      std::vector<unsigned char> bytes;
      const auto append = [&](const auto& matrix) {
        const auto* first = reinterpret_cast<const unsigned char*>(&matrix(0, 0));
        bytes.insert(bytes.end(), first, first + matrix.rows() * matrix.cols() * sizeof(matrix(0, 0)));
      };
      append(y);
      append(dx);
      append(dw);
      append(db);
      results.push_back(bytes);
    }
    EXPECT_TRUE(results[0] == results[1]) << "2 threads differ from 1";
    EXPECT_TRUE(results[0] == results[2]) << "3 threads differ from 1";
  });
  omp_set_num_threads(threads_before);
}

// Its packed copies are written past the caches, those of one map alone into them.
TYPED_TEST(LinearParity, ABankOfMoreThanCachesHoldHasTheBitsOfItsMaps) {
  using P = TypeParam;
  for_each_row<P>([](const auto& row) {
    if (!row.gemm || !row.gemm->prepack) return;
    const LinearCase<P> problem({.rows = {3, 1, 0, 2, 4}, .out = 1000, .in = 901, .bias = false});
    const int64_t map_bytes = problem.N * problem.K * row.gemm->packed_bytes;
    ASSERT_GE(problem.E * map_bytes, kMoreThanCachesHold);
    ASSERT_LT(2 * map_bytes, kMoreThanCachesHold);
    const auto run_with = [&](const LinearBank<P>& bank, int64_t first, int64_t rows, const RowOffsets& offsets,
                              test::Guarded<float>& y, test::Guarded<float>& dx) {
      ForwardEpilogue<P> forward;
      forward.out_real = y.view().rows_from(first, rows);
      BackwardEpilogue<P> backward;
      backward.out_real = dx.view().rows_from(first, rows);
      test::run_as(row.name, LinearForward<P>{bank, problem.x.view().rows_from(first, rows), offsets, forward});
      test::run_as(row.name, LinearBackwardInput<P>{bank, problem.dy.view().rows_from(first, rows), offsets, backward});
    };
    test::Guarded<float> y(problem.R, problem.N), dx(problem.R, problem.K);
    run_with(bank_of(problem.bank), 0, problem.R, RowOffsets(problem.offsets), y, dx);
    test::Guarded<float> y_alone(problem.R, problem.N), dx_alone(problem.R, problem.K);
    for (int64_t e = 0; e < problem.E; ++e) {
      const int64_t first = problem.offsets[static_cast<size_t>(e)];
      const LinearBank<P> alone(1, problem.N, problem.K, problem.bank.weight_of(e), nullptr);
      run_with(alone, first, problem.offsets[static_cast<size_t>(e) + 1] - first, {}, y_alone, dx_alone);
    }
    EXPECT_TRUE(test::equal_bits(y_alone, y));
    EXPECT_TRUE(test::equal_bits(dx_alone, dx));
  });
}

TYPED_TEST(LinearParity, ChangedWeightsAreSeen) {
  using P = TypeParam;
  for_each_row<P>([](const auto& row) {
    LinearCase<P> problem({.rows = {4}, .out = 20, .in = 20, .bias = false});
    LinearBank<P> bank = bank_of(problem.bank);
    test::Guarded<float> y(4, 20), dx(4, 20);
    ForwardEpilogue<P> forward;
    forward.out_real = y.view();
    BackwardEpilogue<P> backward;
    backward.out_real = dx.view();
    test::run_as(row.name, LinearBackwardInput<P>{bank, problem.dy.view(), {}, backward});
    problem.weight.fill(0.0);
    bank.weights_changed();
    test::run_as(row.name, LinearForward<P>{bank, problem.x.view(), {}, forward});
    test::run_as(row.name, LinearBackwardInput<P>{bank, problem.dy.view(), {}, backward});
    for (int64_t i = 0; i < 4; ++i)
      for (int64_t j = 0; j < 20; ++j) {
        EXPECT_EQ(y(i, j), 0.0f);
        EXPECT_EQ(dx(i, j), 0.0f);
      }
  });
}

TYPED_TEST(LinearParity, NonFiniteValuesStayInTheirRow) {
  using P = TypeParam;
  for_each_row<P>([](const auto& row) {
    LinearCase<P> problem({.rows = {5}, .out = 33, .in = 18});
    problem.x(1, 3) = typename P::operand(std::numeric_limits<float>::quiet_NaN());
    problem.x(3, 17) = typename P::operand(std::numeric_limits<float>::infinity());
    const LinearBank<P> bank = bank_of(problem.bank);
    test::Guarded<float> y(5, 33);
    ForwardEpilogue<P> epilogue;
    epilogue.out_real = y.view();
    test::run_as(row.name, LinearForward<P>{bank, problem.x.view(), {}, epilogue});
    for (int64_t i = 0; i < 5; ++i)
      for (int64_t j = 0; j < 33; ++j) {
        EXPECT_EQ(std::isnan(y(i, j)), i == 1) << i << ", " << j;
        EXPECT_EQ(std::isinf(y(i, j)), i == 3) << i << ", " << j;
      }
  });
}

TEST(GroupedProducts, AreForSmallProductsOfMultiplesOfEight) {
  const auto refusal = [](int64_t rows_each, int64_t in, int64_t experts = 2) {
    std::vector<int64_t> offsets;
    for (int64_t e = 0; e <= experts; ++e) offsets.push_back(e * rows_each);
    const LinearBank<Bf16> bank(experts, 16, in, nullptr, nullptr);
    alignas(16) bf16 first[8];  // no more is there, as nothing is read
    const Matrix<const bf16> x(first, experts * rows_each, in, (in + 7) / 8 * 8 + in % 8);
    const Matrix<bf16> y(first, experts * rows_each, 16);
    const RowOffsets all = experts > 1 ? RowOffsets(offsets) : RowOffsets();
    return test::row_named<LinearForward<Bf16>>("grouped").refusal({bank, x, all, {.out_operand = y}});
  };
  EXPECT_EQ(refusal(10, 24), "");
  EXPECT_EQ(refusal((1 << 18) - 1, 64), "");
  EXPECT_EQ(refusal(1 << 18, 64), "a product of an expert has 268435456 multiplications and more");
  EXPECT_EQ(refusal(10, 24, 1), "it is one map over all rows");
  EXPECT_EQ(refusal(10, 20), "tensor cores want multiples of 8 that start at multiples of 16 bytes");
  {
    const Setting always("TROUPE_CUDA_GROUPED", "1");
    EXPECT_EQ(refusal(1 << 18, 64), "");
  }
  const Setting never("TROUPE_CUDA_GROUPED", "0");
  EXPECT_EQ(refusal(10, 24), "TROUPE_CUDA_GROUPED is 0");
}

// The kernel that TROUPE_ISA asks for is the one that runs.
template <class Task>
std::string_view first_choice() {
  return test::usable<Task>().front();
}

TEST(LinearDispatch, TheForcedInstructionSetRuns) {
#ifdef __x86_64__
  const std::string fallback = "generic";
#else
  const std::string fallback = onednn::unavailable_reason() ? "ref" : "onednn";
#endif
  const Isa isa = active_isa();
  const std::string bf16 = isa == Isa::kGeneric ? fallback : std::string(name_of_enum(isa));
  const std::string f32 = isa == Isa::kGeneric ? fallback : std::string(name_of_enum(std::min(isa, Isa::kAvx512)));
  EXPECT_EQ(first_choice<LinearForward<Bf16>>(), bf16);
  EXPECT_EQ(first_choice<LinearBackwardInput<Bf16>>(), bf16);
  EXPECT_EQ(first_choice<LinearBackwardWeight<Bf16>>(), bf16);
  EXPECT_EQ(first_choice<LinearForward<F32>>(), f32);
  if (const char* requested = std::getenv("TROUPE_ISA")) {
    EXPECT_EQ(name_of_enum(isa), requested);
  }
}

TEST(LinearDispatch, EveryRefusalNamesItsReason) {
  for (const auto& row : LinearForward<Bf16>::implementations()) {
    const std::string reason = reason_against(row, active_device());
    if (row.name == "amx" && active_isa() < Isa::kAmx) {
      EXPECT_EQ(reason, "the instruction set in use is " + std::string(name_of_enum(active_isa())));
    }
    if (row.name == "ref") {
      EXPECT_EQ(reason, "");
    }
  }
}

// Copies packed for one kernel are not taken for those of another.
TEST(LinearDispatch, ABankServesSeveralKernels) {
  const LinearCase<Bf16> problem({.rows = {9}, .out = 40, .in = 70});
  const LinearBank<Bf16> bank = bank_of(problem.bank);
  const auto product = [&](std::string_view row) {
    test::Guarded<float> y(9, 40);
    test::run_as(row, LinearForward<Bf16>{bank, problem.x.view(), {}, {.out_real = y.view()}});
    return test::widened(y);
  };
  std::vector<std::vector<double>> first;
  for (const std::string_view row : test::usable<LinearForward<Bf16>>()) first.push_back(product(row));
  size_t i = 0;
  for (const std::string_view row : test::usable<LinearForward<Bf16>>()) {
    EXPECT_EQ(product(row), first[i++]) << row;
    for (size_t j = 0; j < first.back().size(); ++j) EXPECT_NEAR(first[i - 1][j], first.back()[j], 1e-3) << row;
  }
}

}  // namespace
}  // namespace troupe
