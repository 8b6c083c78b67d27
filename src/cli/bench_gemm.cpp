// troupe bench gemm: the three products of the layers of a model, 125M's width by default.
#include <fmt/core.h>

#include <CLI/CLI.hpp>

#include "cli/bench.h"
#include "cli/bench_buffers.h"
#include "cli/choice.h"
#include "cli/validators.h"
#include "model/precision_choice.h"
#include "ops/linear.h"
#include "tensor/buffer.h"

namespace troupe::cli {
namespace {

struct GemmFlags {
  std::vector<int64_t> rows = {2048, 8192, 16384};
  int64_t width = 768;
  Precision precision = Precision::kBf16;
};

template <class P>
void measure(const BenchFlags& flags, PeakMeter& meter, int64_t rows, int64_t in, int64_t out) {
  using operand = typename P::operand;
  const auto weight = random_buffer<float>(out * in, 1, 0.05);
  const auto bias = random_buffer<float>(out, 2, 0.05);
  const auto x = random_buffer<operand>(rows * in, 3, 1.0);
  const auto dy = random_buffer<operand>(rows * out, 4, 1.0);
  auto y = zero_buffer<operand>(rows * out), dx = zero_buffer<operand>(rows * in);
  auto dw = zero_buffer<float>(out * in), db = zero_buffer<float>(out);
  LinearBank<P> bank(1, out, in, weight.data(), bias.data());
  bank.weights_changed();

  constexpr bool kIsBf16 = std::is_same_v<P, Bf16>;
  const Peak peak = kIsBf16 ? Peak::kBf16 : Peak::kF32;
  const std::string shape = fmt::format("{} x {} -> {} {}", rows, in, out, kIsBf16 ? "bf16" : "fp32");
  const double flops = 2.0 * static_cast<double>(rows) * static_cast<double>(in) * static_cast<double>(out);
  ForwardEpilogue<P> forward;
  forward.out_operand = {y.data(), rows, out};
  print_result(flags, "gemm-forward", shape,
               measure_against(meter, peak, flops, flags.seconds,
                               [&] {
                                 run(LinearForward<P>{bank, {x.data(), rows, in}, {}, forward});
                               }),
               peak);
  BackwardEpilogue<P> backward;
  backward.out_operand = {dx.data(), rows, in};
  print_result(flags, "gemm-backward-input", shape,
               measure_against(meter, peak, flops, flags.seconds,
                               [&] {
                                 run(LinearBackwardInput<P>{bank, {dy.data(), rows, out}, {}, backward});
                               }),
               peak);
  print_result(
      flags, "gemm-backward-weight", shape,
      measure_against(
          meter, peak, flops, flags.seconds,
          [&] {
            run(LinearBackwardWeight<P>{bank, {dy.data(), rows, out}, {x.data(), rows, in}, {}, dw.data(), db.data()});
          }),
      peak);
}

}  // namespace

void add_bench_gemm(CLI::App& bench) {
  auto* const command =
      bench.add_subcommand("gemm", "The three products of a model's layers: width to 3, 1 and 4 times it, and back");
  const auto flags = std::make_shared<BenchFlags>();
  const auto own = std::make_shared<GemmFlags>();
  command->add_option("--rows", own->rows, "Tokens per product")->transform(positive_count(1 << 24));
  command->add_option("--width", own->width, "Model width")->transform(positive_count(1 << 24));
  add_choice(*command, "--precision", own->precision, "Operands");
  add_bench_flags(*command, flags, [flags, own] {
    PeakMeter meter;
    for (const int64_t rows : own->rows)
      for (const auto& [in, out] : {std::pair{1, 3}, {1, 1}, {1, 4}, {4, 1}})
        own->precision == Precision::kBf16 ? measure<Bf16>(*flags, meter, rows, in * own->width, out * own->width)
                                 : measure<F32>(*flags, meter, rows, in * own->width, out * own->width);
  });
}

}  // namespace troupe::cli
