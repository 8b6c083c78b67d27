// troupe bench muon: one update of matrices of the shapes of small and middle-sized models; FLOPs of its products
// against the matrix peak.
#include <fmt/core.h>

#include <CLI/CLI.hpp>

#include "cli/bench.h"
#include "cli/bench_buffers.h"
#include "cli/choice.h"
#include "model/language_model.h"
#include "model/precision_choice.h"
#include "ops/muon.h"

namespace troupe::cli {
namespace {

struct MuonShape {
  const char* name;
  int64_t count, rows, cols;
};
constexpr MuonShape kMuonShapes[] = {
    {"muon-qkv-192", 3, 192, 192},      {"muon-up-192", 1, 768, 192},       {"muon-down-192", 1, 192, 768},
    {"muon-experts-192", 16, 384, 192}, {"muon-qkv-768", 3, 768, 768},      {"muon-up-768", 1, 3072, 768},
    {"muon-down-768", 1, 768, 3072},    {"muon-experts-768", 8, 3072, 768},
};

template <class P>
void measure_muon(const BenchFlags& flags) {
  const Peak peak = std::is_same_v<P, Bf16> ? Peak::kBf16 : Peak::kF32;
  PeakMeter meter;
  MuonWorkspace<P> workspace;
  for (const MuonShape& shape : kMuonShapes) {
    const int64_t count = shape.count, rows = shape.rows, cols = shape.cols;
    const int64_t size = count * rows * cols;
    auto p = random_buffer<float>(size, 1, 0.1);
    const auto g = random_buffer<float>(size, 2, 1e-3);
    Buffer<float> m(size);
    const MuonStep step{.lr = 1e-3};
    const int64_t batch = muon_batch(rows, cols);
    const auto update = [&] {
      for (int64_t begin = 0; begin < count; begin += batch) {
        const int64_t matrices = std::min(batch, count - begin);
        const auto part = [&](auto values) {
          return values.subspan(static_cast<size_t>(begin * rows * cols), static_cast<size_t>(matrices * rows * cols));
        };
        run(MuonUpdate<P>{.count = matrices,
                          .rows = rows,
                          .cols = cols,
                          .p = part(p.span()),
                          .g = part(g.span()),
                          .m = part(m.span()),
                          .step = step,
                          .grad_scale = 1.0,
                          .workspace = &workspace});
      }
    };
    print_result(flags, shape.name, fmt::format("{} of {} x {}", count, rows, cols),
                 measure_against(meter, peak, muon_flops(step, count, rows, cols), flags.seconds, update), peak);
  }
}

}  // namespace

void add_bench_muon(CLI::App& bench) {
  auto* const command = bench.add_subcommand("muon", "One update of matrices by Muon: its products against the peak");
  const auto flags = std::make_shared<BenchFlags>();
  const auto precision = std::make_shared<PrecisionChoice>(PrecisionChoice::kAuto);
  add_choice(*command, "--precision", *precision, "auto: bf16 on a GPU, and if the processor multiplies it");
  add_bench_flags(
      *command, flags,
      [flags, precision] {
        precision_of(*precision) == Precision::kBf16 ? measure_muon<Bf16>(*flags) : measure_muon<F32>(*flags);
      },
      BenchDevices::kCpu);
}

}  // namespace troupe::cli
