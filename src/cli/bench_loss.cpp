// troupe bench loss: the output layer with its loss and gradients, 6 T V D FLOPs.
#include <fmt/core.h>

#include <CLI/CLI.hpp>

#include "cli/bench.h"
#include "cli/bench_buffers.h"
#include "cli/choice.h"
#include "cli/validators.h"
#include "model/precision_choice.h"
#include "ops/loss.h"

namespace troupe::cli {
namespace {

struct LossFlags {
  int64_t tokens = 4096, vocab = 50257, width = 768;
  Precision precision = Precision::kBf16;
};

template <class P>
void measure(const BenchFlags& flags, const LossFlags& own) {
  using operand = typename P::operand;
  const int64_t T = own.tokens, V = own.vocab, D = own.width;
  const auto embed = random_buffer<float>(V * D, 1, 0.06);
  const auto h = random_buffer<operand>(T * D, 2, 1.7);
  auto room = zero_buffer<int32_t>(T);
  from_host(room.span(), [&](std::span<int32_t> ids) {
    for (int64_t t = 0; t < T; ++t) ids[static_cast<size_t>(t)] = static_cast<int32_t>(t * 7919 % V);
  });
  const std::span<const int32_t> targets = room.span();
  auto nll = zero_buffer<float>(T), dh = zero_buffer<float>(T * D), dembed = zero_buffer<float>(V * D);
  LinearBank<P> bank(1, V, D, embed.data(), nullptr);
  bank.weights_changed();

  constexpr bool kIsBf16 = std::is_same_v<P, Bf16>;
  const Peak peak = kIsBf16 ? Peak::kBf16 : Peak::kF32;
  const std::string shape = fmt::format("{} x {} -> {} {}", T, D, V, kIsBf16 ? "bf16" : "fp32");
  const double product = 2.0 * static_cast<double>(T) * static_cast<double>(V) * static_cast<double>(D);
  PeakMeter meter;
  print_result(flags, "loss-score", shape,
               measure_against(meter, peak, product, flags.seconds,
                               [&] {
                                 run(OutputLoss<P>{bank, {h.data(), T, D}, targets, nll.span()});
                               }),
               peak);
  print_result(flags, "loss", shape,
               measure_against(meter, peak, 3 * product, flags.seconds,
                               [&] {
                                 run(OutputLossWithGradient<P>{
                                     bank, {h.data(), T, D}, targets, nll.span(), {dh.data(), T, D}, dembed.data()});
                               }),
               peak);
}

}  // namespace

void add_bench_loss(CLI::App& bench) {
  auto* const command =
      bench.add_subcommand("loss", "Output layer with cross-entropy: scores alone, and with gradients");
  const auto flags = std::make_shared<BenchFlags>();
  const auto own = std::make_shared<LossFlags>();
  command->add_option("--tokens", own->tokens, "Tokens per call")->transform(positive_count(1 << 24));
  command->add_option("--vocab", own->vocab, "Vocabulary rows")->transform(positive_count(1 << 24));
  command->add_option("--width", own->width, "Model width")->transform(positive_count(1 << 24));
  add_choice(*command, "--precision", own->precision, "Operands");
  add_bench_flags(*command, flags, [flags, own] {
    own->precision == Precision::kBf16 ? measure<Bf16>(*flags, *own) : measure<F32>(*flags, *own);
  });
}

}  // namespace troupe::cli
