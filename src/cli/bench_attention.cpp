// troupe bench attention: forward and backward of 12 heads of width 64. Work is counted for the full square, though
// causal kernels skip what lies above the diagonal: 4 S^2 D FLOPs per sequence forward, 8 backward, nothing recomputed.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <cmath>

#include "cli/bench.h"
#include "cli/bench_buffers.h"
#include "cli/choice.h"
#include "cli/validators.h"
#include "model/precision_choice.h"
#include "ops/attention.h"

namespace troupe::cli {
namespace {

struct AttentionFlags {
  std::vector<int64_t> lengths = {1024, 2048};
  int64_t tokens = 4096;
  double dropout = 0.0;
  Precision precision = Precision::kBf16;
};

template <class P>
void measure(const BenchFlags& flags, const AttentionFlags& own, PeakMeter& meter, int64_t S) {
  using operand = typename P::operand;
  constexpr int64_t H = 12, C = 64, D = H * C;
  const int64_t B = std::max<int64_t>(1, own.tokens / S), T = B * S;
  const auto qkv = random_buffer<operand>(T * 3 * D, 1, 1.7);
  const auto dctx = random_buffer<operand>(T * D, 2, 1.7);
  auto ctx = zero_buffer<operand>(T * D), dqkv = zero_buffer<operand>(T * 3 * D);
  auto lse = zero_buffer<float>(B * H * S);
  AttentionShape shape{
      .B = B, .S = S, .heads = {.H = H, .G = H, .C = C, .scale = 1.0 / std::sqrt(C)}, .key_valid = {}, .dropout = {}};
  shape.dropout = {.probability = static_cast<float>(own.dropout), .key = 1};

  constexpr bool kIsBf16 = std::is_same_v<P, Bf16>;
  const Peak peak = kIsBf16 ? Peak::kBf16 : Peak::kF32;
  const std::string text =
      fmt::format("{} x {} x 12 x 64{} {}", B, S,
                  own.dropout > 0 ? fmt::format(" dropout {}", own.dropout) : std::string(), kIsBf16 ? "bf16" : "fp32");
  const double square = static_cast<double>(B) * static_cast<double>(S) * static_cast<double>(S) * D;
  const auto third = [&](auto* data, int64_t n) { return Matrix(data + n * D, T, D, 3 * D); };
  const Matrix<const operand> q = third(qkv.data(), 0), k = third(qkv.data(), 1), v = third(qkv.data(), 2);
  const auto forward = [&] { run(AttentionForward<P>{shape, q, k, v, {ctx.data(), T, D}, lse.span()}); };
  const auto backward = [&] {
    run(AttentionBackward<P>{shape, q, k, v, {ctx.data(), T, D}, lse.span(), {dctx.data(), T, D},
                             third(dqkv.data(), 0), third(dqkv.data(), 1), third(dqkv.data(), 2)});
  };
  forward();
  print_result(flags, "attention-forward", text, measure_against(meter, peak, 4 * square, flags.seconds, forward),
               peak);
  print_result(flags, "attention-backward", text, measure_against(meter, peak, 8 * square, flags.seconds, backward),
               peak);
  print_result(flags, "attention", text,
               measure_against(meter, peak, 12 * square, flags.seconds,
                               [&] {
                                 forward();
                                 backward();
                               }),
               peak);
}

}  // namespace

void add_bench_attention(CLI::App& bench) {
  auto* const command = bench.add_subcommand("attention", "Attention of 12 heads of width 64, full square counted");
  const auto flags = std::make_shared<BenchFlags>();
  const auto own = std::make_shared<AttentionFlags>();
  command->add_option("--length", own->lengths, "Positions of a sequence")->transform(positive_count(1 << 24));
  command->add_option("--tokens", own->tokens, "Tokens per call, whole sequences")->transform(positive_count(1 << 24));
  command->add_option("--dropout", own->dropout, "On attention weights")->transform(number(0.0, 0.999));
  add_choice(*command, "--precision", own->precision, "Operands");
  add_bench_flags(*command, flags, [flags, own] {
    PeakMeter meter;
    for (const int64_t S : own->lengths)
      own->precision == Precision::kBf16 ? measure<Bf16>(*flags, *own, meter, S) : measure<F32>(*flags, *own, meter, S);
  });
}

}  // namespace troupe::cli
