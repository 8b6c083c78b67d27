// One linear layer with random contents, run through any implementation and through the reference in double. Used by
// the parity tests of the list of implementations and of kernels that no list on this machine holds.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "guarded.h"
#include "kernels/linear.h"
#include "kernels/ref/linear.h"

namespace troupe::test {

struct LinearSizes {
  std::vector<int64_t> rows;  // per expert
  int64_t out = 1, in = 1;
  Layout layout;
  bool bias = true;
};

struct ForwardOptions {
  bool real_output = false;
  Activation activation = Activation::kNone;
  bool keep_pre_activation = false, residual = false, residual_aliases = false;
  Dropout dropout;
  bool may_round_sums = false;  // to the type of operands, before an activation
};

struct BackwardOptions {
  bool real_output = false;
  Activation activation = Activation::kNone;
  bool may_round_sums = false;
};

// Rounding of one value to T, relative.
template <class T>
constexpr double rounding() {
  if constexpr (std::is_same_v<T, bf16>) return 0x1.0p-8;
  return 0.0;
}

template <class P>
class LinearCase {
 public:
  using operand = typename P::operand;

  explicit LinearCase(const LinearSizes& sizes)
      : E(static_cast<int64_t>(sizes.rows.size())),
        N(sizes.out),
        K(sizes.in),
        R(std::accumulate(sizes.rows.begin(), sizes.rows.end(), int64_t{0})),
        layout(sizes.layout),
        weight(E * N, K, {0, sizes.layout.offset}),
        bias(E, N),
        x(R, K, sizes.layout),
        dy(R, N, sizes.layout) {
    offsets.assign(1, 0);
    for (const int64_t rows : sizes.rows) offsets.push_back(offsets.back() + rows);
    weight.fill_normal(1);
    bias.fill_normal(2);
    // What operands hold: cuBLASLt adds a bias to results in bf16 in their type.
    bias.for_each([&](int64_t i, int64_t j) { return double(float(operand(bias(i, j)))); });
    x.fill_normal(3);
    dy.fill_normal(4);
    bank = {E, N, K, weight.view().data, sizes.bias ? bias.view().data : nullptr};
  }

  // run(bank, x, offsets, epilogue) is the implementation under test.
  template <class Run>
  void check_forward(const Run& run, const ForwardOptions& options) const {
    Guarded<operand> out(R, N, layout), pre(R, N, layout), pre_wanted(R, N);
    Guarded<float> out_real(R, N, layout), residual(R, N, layout);
    residual.fill_normal(5);
    ForwardEpilogue<P> epilogue;
    epilogue.activation = options.activation;
    epilogue.dropout = options.dropout;
    if (options.keep_pre_activation) epilogue.pre_activation = pre.view();
    if (options.real_output)
      epilogue.out_real = out_real.view();
    else
      epilogue.out_operand = out.view();
    if (options.residual) epilogue.residual = residual.view();
    if (options.residual_aliases) {
      out_real.for_each([&](int64_t i, int64_t j) { return double(residual(i, j)); });
      epilogue.residual = out_real.view();
    }
    run(bank, x.view(), offsets.data(), epilogue);

    Guarded<double> x64(R, K), y64(R, N), z64(R, N), size(R, N), residual64(R, N), w64(E * N, K), b64(E, N);
    to_double(x64, w64, b64);
    residual64.for_each([&](int64_t i, int64_t j) { return double(residual(i, j)); });
    const WeightView<F64> bank64 = bank_of(w64, b64);
    ForwardEpilogue<F64> reference;
    reference.activation = options.activation;
    reference.dropout = options.dropout;
    reference.pre_activation = z64.view();
    reference.out_real = y64.view();
    if (epilogue.residual) reference.residual = residual64.view();
    ref::linear_forward<F64>(bank64, x64.view(), offsets.data(), reference);
    magnitudes(x64, w64, b64);
    ForwardEpilogue<F64> plain;
    plain.out_real = size.view();
    ref::linear_forward<F64>(bank64, x64.view(), offsets.data(), plain);

    const double dropout_scale = options.dropout.active() ? 1.0 / (1.0 - options.dropout.probability) : 1.0;
    const auto tolerance = [&](int64_t i, int64_t j) {
      const bool rounded = options.may_round_sums && options.activation != Activation::kNone;
      return 1.13 * dropout_scale *
                 (sum_error(K) * size(i, j) + (rounded ? rounding<operand>() * std::abs(z64(i, j)) : 0.0)) +
             kElementwise * (std::abs(y64(i, j)) + 1e-3);
    };
    if (options.real_output)
      expect_close(out_real, y64, 0.0, tolerance, "out_real");
    else
      expect_close(out, y64, rounding<operand>(), tolerance, "out_operand");
    if (options.keep_pre_activation)
      expect_close(
          pre, z64, rounding<operand>(), [&](int64_t i, int64_t j) { return sum_error(K) * size(i, j); },
          "pre_activation");
    out.expect_guards_intact("out_operand");
    out_real.expect_guards_intact("out_real");
    pre.expect_guards_intact("pre_activation");
  }

  // run(bank, dy, offsets, epilogue)
  template <class Run>
  void check_backward_input(const Run& run, const BackwardOptions& options) const {
    Guarded<operand> out(R, K, layout), pre(R, K, layout);
    Guarded<float> out_real(R, K, layout);
    pre.fill_normal(6, 2.0);
    BackwardEpilogue<P> epilogue;
    epilogue.activation = options.activation;
    if (options.activation != Activation::kNone) epilogue.pre_activation = pre.view();
    if (options.real_output)
      epilogue.out_real = out_real.view();
    else
      epilogue.out_operand = out.view();
    run(bank, dy.view(), offsets.data(), epilogue);

    Guarded<double> dy64(R, N), dx64(R, K), size(R, K), pre64(R, K), w64(E * N, K), b64(E, N), x64(R, K);
    to_double(x64, w64, b64);
    dy64.for_each([&](int64_t i, int64_t j) { return double(float(dy(i, j))); });
    pre64.for_each([&](int64_t i, int64_t j) { return double(float(pre(i, j))); });
    BackwardEpilogue<F64> reference;
    reference.activation = options.activation;
    if (options.activation != Activation::kNone) reference.pre_activation = pre64.view();
    reference.out_real = dx64.view();
    ref::linear_backward_input<F64>(bank_of(w64, b64), dy64.view(), offsets.data(), reference);
    magnitudes(dy64, w64, b64);
    BackwardEpilogue<F64> plain;
    plain.out_real = size.view();
    ref::linear_backward_input<F64>(bank_of(w64, b64), dy64.view(), offsets.data(), plain);

    const auto tolerance = [&](int64_t i, int64_t j) {
      return (1.13 * sum_error(N) + (options.activation != Activation::kNone ? kElementwise : 0.0)) * size(i, j) +
             (kElementwise + (options.may_round_sums ? rounding<operand>() : 0.0)) * std::abs(dx64(i, j));
    };
    if (options.real_output)
      expect_close(out_real, dx64, 0.0, tolerance, "dx real");
    else
      expect_close(out, dx64, rounding<operand>(), tolerance, "dx operand");
    out.expect_guards_intact("dx operand");
    out_real.expect_guards_intact("dx real");
  }

  // run(bank, dy, x, offsets, dw, db)
  template <class Run>
  void check_backward_weight(const Run& run, bool with_bias) const {
    Guarded<float> dw(E * N, K), db(E, N);
    dw.fill_normal(7);
    db.fill_normal(8);
    Guarded<double> dw64(E * N, K), db64(E, N), x64(R, K), dy64(R, N), w64(E * N, K), b64(E, N);
    dw64.for_each([&](int64_t i, int64_t j) { return double(dw(i, j)); });
    db64.for_each([&](int64_t i, int64_t j) { return double(db(i, j)); });
    run(bank, dy.view(), x.view(), offsets.data(), dw.view().data, with_bias ? db.view().data : nullptr);

    to_double(x64, w64, b64);
    dy64.for_each([&](int64_t i, int64_t j) { return double(float(dy(i, j))); });
    const WeightView<F64> bank64 = bank_of(w64, b64);
    ref::linear_backward_weight<F64>(bank64, dy64.view(), x64.view(), offsets.data(), dw64.view().data,
                                     with_bias ? db64.view().data : nullptr);
    Guarded<double> dw_size(E * N, K), db_size(E, N);
    dw_size.fill(1.0);
    db_size.fill(1.0);
    magnitudes(x64, dy64, b64);
    ref::linear_backward_weight<F64>(bank64, dy64.view(), x64.view(), offsets.data(), dw_size.view().data,
                                     db_size.view().data);
    expect_close(
        dw, dw64, 0.0, [&](int64_t i, int64_t j) { return sum_error(R) * dw_size(i, j); }, "dw");
    expect_close(
        db, db64, 0.0, [&](int64_t i, int64_t j) { return sum_error(R) * db_size(i, j); }, "db");
    dw.expect_guards_intact("dw");
    db.expect_guards_intact("db");
  }

  int64_t E, N, K, R;
  Layout layout;
  std::vector<int64_t> offsets;
  Guarded<float> weight, bias;
  Guarded<operand> x, dy;
  WeightView<P> bank;

 private:
  // Float32 epilogues: approximations of gelu within some units in the last place.
  static constexpr double kElementwise = 4e-6;

  // Relative to the sum of magnitudes: rounding errors of a float32 sum of n terms, which add like a random walk.
  static double sum_error(int64_t n) { return 0x1.0p-24 * (4.0 + 3.0 * std::sqrt(static_cast<double>(n))); }

  void to_double(Guarded<double>& x64, Guarded<double>& w64, Guarded<double>& b64) const {
    x64.for_each([&](int64_t i, int64_t j) { return double(float(x(i, j))); });
    w64.for_each([&](int64_t i, int64_t j) { return double(float(operand(weight(i, j)))); });
    b64.for_each([&](int64_t i, int64_t j) { return double(bias(i, j)); });
  }
  WeightView<F64> bank_of(Guarded<double>& w64, Guarded<double>& b64) const {
    return {E, N, K, w64.view().data, bank.bias ? b64.view().data : nullptr};
  }
  static void magnitudes(Guarded<double>& a, Guarded<double>& b, Guarded<double>& c) {
    for (Guarded<double>* matrix : {&a, &b, &c})
      matrix->for_each([&](int64_t i, int64_t j) { return std::abs((*matrix)(i, j)); });
  }

  template <class T, class Tolerance>
  static void expect_close(const Guarded<T>& actual, const Guarded<double>& expected, double relative,
                           const Tolerance& tolerance, const std::string& what) {
    double worst = 0.0;
    int64_t row = 0, col = 0;
    for (int64_t i = 0; i < expected.rows(); ++i)
      for (int64_t j = 0; j < expected.cols(); ++j) {
        const double allowed = relative * std::abs(expected(i, j)) + (1.0 + relative) * tolerance(i, j) +
                               std::numeric_limits<float>::min();
        const double error = std::abs(double(float(actual(i, j))) - expected(i, j)) / allowed;
        if (!(error <= worst)) worst = error, row = i, col = j;
        if (std::isnan(error)) break;
      }
    EXPECT_LE(worst, 1.0) << what << "[" << row << ", " << col << "]: expected " << expected(row, col) << ", got "
                          << float(actual(row, col)) << ", error over tolerance " << worst;
  }
};

}  // namespace troupe::test
