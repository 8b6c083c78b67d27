// troupe bench step: whole training steps (forward, backward, norm, update, packing) of named models on random tokens.
// troupe bench moe: forward and backward of an MoE beside the dense model whose layers it shares, turn by turn.
#include <fmt/core.h>

#include <CLI/CLI.hpp>

#include "base/clock.h"
#include "base/device.h"
#include "base/error.h"
#include "base/machine.h"
#include "base/median.h"
#include "cli/bench.h"
#include "cli/choice.h"
#include "cli/progress.h"
#include "cli/validators.h"
#include "kernels/context.h"
#include "kernels/cuda/machine.h"
#include "model/flops.h"
#include "train/random_batch.h"
#include "train/trainer.h"

namespace troupe::cli {
namespace {

struct StepModel {
  const char* name;
  int64_t layers, width, heads, vocab, context, experts;
  int64_t sequences, micro;  // per update, in memory at a time
  bool llama = false;        // rotary positions, RMSNorm, gated silu, half as many heads of keys and values, no biases
};
// The study's smallest pair at its real vocabulary, and a small pair; experts are as wide as the dense FFN, top-2.
constexpr StepModel kModels[] = {
    {"dense-12x768", 12, 768, 12, 50257, 1024, 0, 8, 4},    {"moe8-12x768", 12, 768, 12, 50257, 1024, 8, 16, 4},
    {"moe32-12x768", 12, 768, 12, 50257, 1024, 32, 16, 2},  {"dense-6x256", 6, 256, 4, 8192, 256, 0, 32, 32},
    {"moe16-6x256", 6, 256, 4, 8192, 256, 16, 32, 32},      {"moe64-12x768", 12, 768, 12, 50257, 1024, 64, 16, 2},
    {"dense-24x1024", 24, 1024, 16, 50257, 1024, 0, 8, 2},  {"moe8-24x1024", 24, 1024, 16, 50257, 1024, 8, 8, 2},
    {"dense-24x2048", 24, 2048, 32, 50257, 1024, 0, 8, 1},  {"moe8-24x2048", 24, 2048, 32, 50257, 1024, 8, 8, 1},
    {"llama-6x256", 6, 256, 4, 8192, 256, 0, 32, 32, true}, {"llama-12x768", 12, 768, 12, 50257, 1024, 0, 8, 4, true},
};

// What flags say in place of the table's; 0: the table's.
struct StepSizes {
  int64_t context = 0, sequences = 0, micro = 0;
};

StepModel sized(StepModel row, const StepSizes& sizes) {
  if (sizes.context > 0) row.context = sizes.context;
  if (sizes.sequences > 0) row.sequences = sizes.sequences;
  if (sizes.micro > 0) row.micro = sizes.micro;
  if (row.sequences % row.micro != 0)
    fail(ErrorCode::kUsage, "bench step: {}: --sequences: expected a multiple of --micro ({}), got {}", row.name,
         row.micro, row.sequences);
  return row;
}

ModelConfig config_of(const StepModel& row) {
  ModelConfig config;
  config.num_layers = row.layers, config.d_model = row.width, config.num_heads = row.heads, config.d_ff = 4 * row.width;
  config.vocab_size = row.vocab, config.context = row.context, config.moe.num_experts = row.experts;
  if (!row.llama) return config;
  config.positions = Positions::kRotary, config.norm = Norm::kRms, config.scale_embedding = false;
  config.activation = FfnActivation::kSilu, config.ffn_gated = true, config.d_ff = (row.width * 8 / 3 + 63) / 64 * 64;
  config.qkv_bias = config.out_bias = config.ffn_bias = false, config.kv_heads = row.heads / 2;
  return config;
}

// What the work held at most, where the model lies; on a processor of the whole process.
int64_t memory_bytes(const PeakMeter& meter) {
  return active_device() == Device::kCpu ? peak_memory_bytes() : cuda::most_bytes() - meter.device_bytes();
}
double in_gib(int64_t bytes) { return static_cast<double>(bytes) / (1 << 30); }

Batch random_batch(const StepModel& row, int64_t step, int64_t micro) {
  return troupe::random_batch(row.micro, row.context, row.vocab, step, micro);
}

// And its parts on a GPU: activations, what outlives a step, room of ops and libraries.
void add_parts(int64_t bytes, int64_t arena, std::vector<std::pair<std::string, double>>& more) {
  if (active_device() == Device::kCpu) return;
  const int64_t workspaces = Context::of_this_thread().bytes();
  more.emplace_back("arena_bytes", arena);
  more.emplace_back("stores_bytes", bytes - arena - workspaces);
  more.emplace_back("workspaces_bytes", workspaces);
}

std::string choices_text(const OptimizerConfig& optimizer) {
  std::string text;
  if (optimizer.matrices == MatrixOptimizer::kMuon) text += ", muon";
  if (optimizer.moments == Precision::kBf16) text += ", moments bf16";
  if (optimizer.offload) text += ", offload";
  if (optimizer.release_gradients) text += ", gradients released";
  return text;
}

void run_model(const BenchFlags& flags, const StepModel& row, Precision precision, const OptimizerConfig& optimizer) {
  const ModelConfig config = config_of(row);
  LanguageModel model(config, precision);
  initialize(model.params(), 1);
  const int64_t micro_batches = row.sequences / row.micro;
  Progress progress(row.name);
  Trainer trainer(
      model, Schedule({.kind = ScheduleKind::kConstant, .lr = 1e-4}, 1 << 20),
      {.micro_batches = micro_batches, .optimizer = optimizer}, [&](int64_t step, int64_t micro) {
        progress.update(
            0.0, fmt::format("step {} (the first is not counted), part {} of {}", step + 1, micro + 1, micro_batches));
        return random_batch(row, step, micro);
      });
  const auto tokens = static_cast<double>(row.sequences * row.context);
  const double flops_per_token = train_flops_per_token(config, row.context, {.router = false});
  PeakMeter meter;
  const Peak peak = precision == Precision::kBf16 ? Peak::kBf16 : Peak::kF32;
  const PacedResult result =
      measure_against(meter, peak, flops_per_token * tokens, flags.seconds, [&] { trainer.step(); });
  progress.clear();
  const int64_t bytes = memory_bytes(meter);
  std::vector<std::pair<std::string, double>> more = {{"tokens_per_s", result.rate / flops_per_token},
                                                      {"peak_memory_gib", in_gib(bytes)}};
  add_parts(bytes, model.arena().bytes(), more);
  print_result(flags, row.name,
               fmt::format("{} x {} tokens, {} at a time, {}{}", row.sequences, row.context, row.micro,
                           precision == Precision::kBf16 ? "bf16" : "fp32", choices_text(optimizer)),
               result, peak, bytes, std::move(more));
}

// Forward and backward of one micro-batch, without an optimizer.
class PassTimer {
 public:
  PassTimer(const StepModel& row, Precision precision)
      : row_(row),
        model_(config_of(row), precision),
        grads_(model_.table(), {}, model_.params().memory()),
        batch_(random_batch(row, 0, 0)) {
    initialize(model_.params(), 1);
  }
  double seconds() {
    const Clock::time_point start = Clock::now();
    model_.forward_backward(batch_, RunMode(), grads_);
    wait_for_device();
    return seconds_since(start);
  }
  double flops_per_token() const { return train_flops_per_token(model_.config(), row_.context, {.router = false}); }

 private:
  StepModel row_;
  LanguageModel model_;
  ParameterStore<float> grads_;
  Batch batch_;
};

void compare_with_dense(const BenchFlags& flags, const StepModel& dense_row, int64_t experts, Precision precision) {
  StepModel moe_row = dense_row;
  moe_row.experts = experts;
  PassTimer dense(dense_row, precision), moe(moe_row, precision);
  Progress progress(fmt::format("moe{} beside {}", experts, dense_row.name));
  progress.update(0.0, "first passes, not counted");
  dense.seconds(), moe.seconds();  // they plan memory
  std::vector<double> ratios;
  const Clock::time_point begin = Clock::now();
  double before = dense.seconds();
  while (ratios.size() < 3 || seconds_since(begin) < flags.seconds) {
    const double time = moe.seconds(), after = dense.seconds();
    ratios.push_back(time / (0.5 * (before + after)));
    before = after;
    progress.update(0.0, fmt::format("{} turns", ratios.size()));
  }
  progress.clear();
  const double time_ratio = median(ratios), flop_ratio = moe.flops_per_token() / dense.flops_per_token();
  print_line(flags, {.name = fmt::format("moe{}-over-{}", experts, dense_row.name),
                     .shape = fmt::format("{} x {} tokens, forward + backward", dense_row.micro, dense_row.context),
                     .value = time_ratio,
                     .unit = "x time",
                     .peak = flop_ratio,
                     .ratio = time_ratio / flop_ratio,
                     .peak_name = "FLOP ratio",
                     .repetitions = static_cast<int64_t>(ratios.size()),
                     .more = {{"peak_memory_gib", in_gib(peak_memory_bytes())}}});
}

}  // namespace

void add_bench_step(CLI::App& bench) {
  auto* const command = bench.add_subcommand("step", "Whole training steps: model FLOPs against the matrix peak");
  const auto flags = std::make_shared<BenchFlags>();
  const auto names = std::make_shared<std::vector<std::string>>();
  const auto precision = std::make_shared<PrecisionChoice>(PrecisionChoice::kAuto);
  std::vector<std::string> known;
  for (const StepModel& row : kModels) known.emplace_back(row.name);
  limit_to(
      command->add_option("models", *names,
                          "Names; none: the two small ones (the large are for GPUs, or take minutes and tens of GiB)"),
      known);
  const auto sizes = std::make_shared<StepSizes>();
  command->add_option("--context", sizes->context, "Positions of a sequence; default: the model's of the table")
      ->transform(positive_count(1 << 24));
  command->add_option("--sequences", sizes->sequences, "Sequences of an update; default: the model's of the table")
      ->transform(positive_count(1 << 24));
  command->add_option("--micro", sizes->micro, "Sequences at a time; default: the model's of the table")
      ->transform(positive_count(1 << 24));
  const auto optimizer = std::make_shared<OptimizerConfig>();
  add_choice(*command, "--precision", *precision, "auto: bf16 on a GPU, and if the processor multiplies it");
  add_choice(*command, "--matrices", optimizer->matrices,
             "What moves the matrices of the layers; its FLOPs are not counted");
  add_choice(*command, "--moments", optimizer->moments, "As train.optimizer.moments");
  command->add_flag("--offload", optimizer->offload, "As train.optimizer.offload");
  command->add_flag("--release-gradients", optimizer->release_gradients,
                    "As train.optimizer.release_gradients; --micro is all of --sequences then");
  add_bench_flags(*command, flags, [flags, names, sizes, precision, optimizer] {
    const std::vector<std::string> chosen =
        names->empty() ? std::vector<std::string>{"dense-6x256", "moe16-6x256"} : *names;
    for (const std::string& name : chosen)
      for (const StepModel& row : kModels)
        if (name == row.name) run_model(*flags, sized(row, *sizes), precision_of(*precision), *optimizer);
  });
}

void add_bench_moe(CLI::App& bench) {
  auto* const command =
      bench.add_subcommand("moe", "Forward and backward of an MoE over the dense model: time ratio by FLOP ratio");
  const auto flags = std::make_shared<BenchFlags>();
  const auto experts = std::make_shared<std::vector<int64_t>>(std::vector<int64_t>{8, 32});
  const auto dense = std::make_shared<std::string>("dense-12x768");
  const auto precision = std::make_shared<PrecisionChoice>(PrecisionChoice::kAuto);
  command->add_option("--experts", *experts, "Experts of every second layer")->transform(whole_number(2, 4096));
  limit_to(command->add_option("--dense", *dense, "The dense model (the large one takes minutes and up to 17 GiB)"),
           {"dense-12x768", "dense-6x256"});
  add_choice(*command, "--precision", *precision, "auto: bf16 on a GPU, and if the processor multiplies it");
  add_bench_flags(*command, flags, [flags, experts, dense, precision] {
    for (const int64_t count : *experts)
      for (const StepModel& row : kModels)
        if (*dense == row.name) compare_with_dense(*flags, row, count, precision_of(*precision));
  });
}

}  // namespace troupe::cli
