// troupe bench adam: one update of float32 parameters, 28 bytes moved for each (p, g, m, v read; p, m, v written), or 20
// with moments in bf16, and the scan for the gradient norm, 4 bytes.
#include <fmt/core.h>

#include <CLI/CLI.hpp>

#include "cli/bench.h"
#include "cli/bench_buffers.h"
#include "cli/validators.h"
#include "ops/adam.h"

namespace troupe::cli {

void add_bench_adam(CLI::App& bench) {
  auto* const command = bench.add_subcommand("adam", "One optimizer update: bytes moved against stream bandwidth");
  const auto flags = std::make_shared<BenchFlags>();
  const auto size = std::make_shared<int64_t>(int64_t{32} << 20);
  command->add_option("--parameters", *size, "Parameters, far more than the caches hold")->transform(positive_count());
  add_bench_flags(*command, flags, [flags, size] {
    const auto g = random_buffer<float>(*size, 1, 1e-3);
    auto p = random_buffer<float>(*size, 2, 0.1);
    auto m = zero_buffer<float>(*size), v = zero_buffer<float>(*size);
    const std::string shape = fmt::format("{} parameters", *size);
    AdamStep step;
    PeakMeter meter;
    const double count = static_cast<double>(*size);
    print_result(*flags, "adam", shape,
                 measure_against(meter, Peak::kTriad, 28 * count, flags->seconds,
                                 [&] {
                                   run(AdamUpdate<float>{p.span(), g.span(), m.span(), v.span(), step, 0.5});
                                   ++step.t;
                                 }),
                 Peak::kTriad);
    auto m_bf16 = zero_buffer<bf16>(*size), v_bf16 = zero_buffer<bf16>(*size);
    print_result(*flags, "adam-bf16", shape,
                 measure_against(meter, Peak::kTriad, 20 * count, flags->seconds,
                                 [&] {
                                   run(AdamUpdateBf16<float>{p.span(), g.span(), m_bf16.span(), v_bf16.span(), step, 0.5,
                                                             static_cast<uint64_t>(step.t), 0});
                                   ++step.t;
                                 }),
                 Peak::kTriad);
    print_result(*flags, "gradient-norm", shape,
                 measure_against(meter, Peak::kRead, 4 * count, flags->seconds,
                                 [&] { static_cast<void>(sum_of_squares<float>(g.span())); }),
                 Peak::kRead);
  });
}

}  // namespace troupe::cli
