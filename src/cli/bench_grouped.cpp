// troupe bench grouped: the experts of one MoE layer, 768 -> 3,072 -> 768 with gelu.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdlib>
#include <numeric>

#include "base/device.h"
#include "base/log.h"
#include "base/rng.h"
#include "cli/bench.h"
#include "cli/bench_buffers.h"
#include "kernels/cuda/cutlass.h"
#include "kernels/cuda/switches.h"
#include "ops/linear.h"
#include "tensor/buffer.h"

namespace troupe::cli {
namespace {

constexpr int64_t kWidth = 768, kInner = 3072;

// Row ranges of `rows` rows over the experts: expert i gets a share proportional to 1 / (i + 1)^exponent, in a shuffled
// order; exponent 0 draws an expert for every row.
std::vector<int64_t> expert_offsets(int64_t num_experts, int64_t rows, double exponent) {
  Rng rng(7);
  std::vector<int64_t> load(static_cast<size_t>(num_experts), 0);
  std::vector<double> share;
  for (int64_t i = 0; i < num_experts; ++i) share.push_back(std::pow(static_cast<double>(i + 1), -exponent));
  const double total = std::accumulate(share.begin(), share.end(), 0.0);
  for (int64_t row = 0; row < rows; ++row) {
    double at = rng.uniform() * total;
    int64_t expert = 0;
    while (expert + 1 < num_experts && at >= share[static_cast<size_t>(expert)])
      at -= share[static_cast<size_t>(expert++)];
    ++load[static_cast<size_t>(expert)];
  }
  for (size_t i = load.size() - 1; i > 0; --i) std::swap(load[i], load[rng.below(i + 1)]);
  std::vector<int64_t> offsets = {0};
  for (const int64_t count : load) offsets.push_back(offsets.back() + count);
  return offsets;
}

// The two maps of every expert, with the buffers of one step. Both maps read the same float32 numbers, which nothing
// here depends on, to fit 512 experts into less memory.
struct Experts {
  int64_t num_experts, rows;
  std::vector<int64_t> offsets;
  Buffer<float> weight, bias1, bias2;
  LinearBank<Bf16> fc1, fc2;
  Buffer<bf16> x, z, a, y, dy, da, dx;

  Experts(int64_t num_experts, int64_t rows, double exponent)
      : num_experts(num_experts),
        rows(rows),
        offsets(expert_offsets(num_experts, rows, exponent)),
        weight(repeated_buffer<float>(num_experts * kInner * kWidth, 1, 0.03)),
        bias1(zero_buffer<float>(num_experts * kInner)),
        bias2(zero_buffer<float>(num_experts * kWidth)),
        fc1(num_experts, kInner, kWidth, weight.data(), bias1.data()),
        fc2(num_experts, kWidth, kInner, weight.data(), bias2.data()),
        x(random_buffer<bf16>(rows * kWidth, 3, 1.0)),
        z(zero_buffer<bf16>(rows * kInner)),
        a(zero_buffer<bf16>(rows * kInner)),
        y(zero_buffer<bf16>(rows * kWidth)),
        dy(random_buffer<bf16>(rows * kWidth, 4, 1.0)),
        da(zero_buffer<bf16>(rows * kInner)),
        dx(zero_buffer<bf16>(rows * kWidth)) {
    fc1.weights_changed();
    fc2.weights_changed();
  }

  void forward(bool training) {
    ForwardEpilogue<Bf16> inner, outer;
    inner.activation = Activation::kGeluErf;
    inner.out_operand = {a.data(), rows, kInner};
    if (training) inner.pre_activation = {z.data(), rows, kInner};
    outer.out_operand = {y.data(), rows, kWidth};
    run(LinearForward<Bf16>{fc1, {x.data(), rows, kWidth}, offsets, inner});
    run(LinearForward<Bf16>{fc2, {a.data(), rows, kInner}, offsets, outer});
  }

  void backward(float* dw1, float* db1, float* dw2, float* db2) {
    BackwardEpilogue<Bf16> inner, outer;
    inner.out_operand = {da.data(), rows, kInner};
    inner.pre_activation = {z.data(), rows, kInner};
    outer.out_operand = {dx.data(), rows, kWidth};
    run(LinearBackwardWeight<Bf16>{fc2, {dy.data(), rows, kWidth}, {a.data(), rows, kInner}, offsets, dw2, db2});
    run(LinearBackwardInput<Bf16>{fc2, {dy.data(), rows, kWidth}, offsets, inner});
    run(LinearBackwardWeight<Bf16>{fc1, {da.data(), rows, kInner}, {x.data(), rows, kWidth}, offsets, dw1, db1});
    run(LinearBackwardInput<Bf16>{fc1, {da.data(), rows, kInner}, offsets, outer});
  }
};

// On a GPU every way to multiply is measured beside the others, unless the switch is set: `way` is what its line says.
template <class Measure>
void each_way(const Measure& measure) {
  const cuda::Switch& grouped = cuda::kGroupedSwitch;
  if (active_device() == Device::kCpu || !cuda::value_of(grouped).empty()) return measure(std::string());
  for (const std::string_view value : grouped.values) {
    if (const std::string reason = value == cuda::kByCutlass ? cuda::cutlass_unavailable() : ""; !reason.empty()) {
      log::info("{}={} is left out: {}", grouped.name, value, reason);
      continue;
    }
    setenv(grouped.name, std::string(value).c_str(), 1);
    measure(fmt::format(", {}={}", grouped.name, value));
  }
  unsetenv(grouped.name);
}

void measure_training(const BenchFlags& flags, PeakMeter& meter) {
  Experts experts(32, 8192, 1.0);
  auto dw1 = zero_buffer<float>(experts.weight.size()), dw2 = zero_buffer<float>(experts.weight.size());
  auto db1 = zero_buffer<float>(experts.bias1.size()), db2 = zero_buffer<float>(experts.bias2.size());
  const double flops = 3.0 * 2.0 * 2.0 * static_cast<double>(experts.rows) * kWidth * kInner;
  const auto step = [&] {
    experts.forward(true);
    experts.backward(dw1.data(), db1.data(), dw2.data(), db2.data());
  };
  each_way([&](const std::string& way) {
    print_result(flags, "grouped", "32 experts, 8192 rows (Zipf), train" + way,
                 measure_against(meter, Peak::kBf16, flops, flags.seconds, step), Peak::kBf16);
  });
}

void measure_few_rows(const BenchFlags& flags, PeakMeter& meter) {
  Experts experts(512, 4096, 0.0);
  int64_t used = 0;  // experts with rows, whose weights must be read
  for (size_t e = 0; e < 512; ++e) used += experts.offsets[e + 1] > experts.offsets[e];
  const double bytes = 2.0 * sizeof(bf16) * static_cast<double>(used) * kWidth * kInner;
  each_way([&](const std::string& way) {
    for (const Peak peak : {Peak::kTriad, Peak::kRead})
      print_result(flags, "grouped-few-rows", "512 experts, 4096 rows, forward" + way,
                   measure_against(meter, peak, bytes, flags.seconds, [&] { experts.forward(false); }), peak);
  });
}

}  // namespace

void add_bench_grouped(CLI::App& bench) {
  auto* const command = bench.add_subcommand("grouped", "The experts of one MoE layer: training, and few rows each");
  const auto flags = std::make_shared<BenchFlags>();
  const auto part = std::make_shared<std::string>("all");
  command->add_option("--part", *part, "Which lines")->check(CLI::IsMember({"all", "train", "few-rows"}));
  add_bench_flags(*command, flags, [flags, part] {
    PeakMeter meter;
    if (*part != "few-rows") measure_training(*flags, meter);
    if (*part != "train") measure_few_rows(*flags, meter);  // 10 GB of weights
  });
}

}  // namespace troupe::cli
