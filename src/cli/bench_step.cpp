// troupe bench step: whole training steps (forward, backward, norm, Adam, packing) of named models on random tokens.
#include <fmt/core.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>

#include "base/error.h"
#include "base/log.h"
#include "base/rng.h"
#include "cli/bench.h"
#include "model/flops.h"
#include "train/trainer.h"

namespace troupe::cli {
namespace {

struct StepModel {
  const char* name;
  int64_t layers, width, heads, vocab, context, experts;
  int64_t sequences, micro;  // per update, in memory at a time
};
// The study's smallest pair at its real vocabulary, and a small pair; experts are as wide as the dense FFN, top-2.
constexpr StepModel kModels[] = {
    {"dense-12x768", 12, 768, 12, 50257, 1024, 0, 8, 4},   {"moe8-12x768", 12, 768, 12, 50257, 1024, 8, 16, 4},
    {"moe32-12x768", 12, 768, 12, 50257, 1024, 32, 16, 4}, {"dense-6x256", 6, 256, 4, 8192, 256, 0, 32, 32},
    {"moe16-6x256", 6, 256, 4, 8192, 256, 16, 32, 32},
};

ModelConfig config_of(const StepModel& row) {
  ModelConfig config;
  config.num_layers = row.layers, config.d_model = row.width, config.num_heads = row.heads, config.d_ff = 4 * row.width;
  config.vocab_size = row.vocab, config.context = row.context, config.moe.num_experts = row.experts;
  return config;
}

double peak_memory_gib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / (1 << 20);
}

void run_model(const BenchFlags& flags, const StepModel& row, Precision precision) {
  const ModelConfig config = config_of(row);
  LanguageModel model(config, precision);
  initialize(model.params(), 1);
  model.weights_changed();
  const auto random_batch = [&](int64_t step, int64_t micro) {
    Batch batch{.B = row.micro, .S = row.context, .src = {}, .tgt = {}, .first_sequence = micro * row.micro};
    Rng rng(static_cast<uint64_t>(step), static_cast<uint64_t>(micro));
    for (int64_t i = 0; i < batch.tokens(); ++i) {
      batch.src.push_back(static_cast<int32_t>(rng.below(static_cast<uint64_t>(row.vocab))));
      batch.tgt.push_back(static_cast<int32_t>(rng.below(static_cast<uint64_t>(row.vocab))));
    }
    return batch;
  };
  Trainer trainer(model, Schedule({.kind = ScheduleKind::kConstant, .lr = 1e-4}, 1 << 20),
                  {.seed = 1, .micro_batches = row.sequences / row.micro, .clip_norm = 0.0, .adam = {}}, random_batch);
  const auto tokens = static_cast<double>(row.sequences * row.context);
  const double flops_per_token = train_flops_per_token(config, row.context, {.router = false});
  PeakMeter meter;
  const Peak peak = precision == Precision::kBf16 ? Peak::kBf16 : Peak::kF32;
  const PacedResult result =
      measure_against(meter, peak, flops_per_token * tokens, flags.seconds, [&] { trainer.step(); });
  print_result(flags, row.name,
               fmt::format("{} x {} tokens, {} at a time, {}", row.sequences, row.context, row.micro,
                           precision == Precision::kBf16 ? "bf16" : "fp32"),
               result, peak);
  log::info("{}: {:.0f} tokens/s, peak memory of the process {:.2f} GiB, median of {} steps", row.name,
            result.rate / flops_per_token, peak_memory_gib(), result.repetitions);
}

}  // namespace

void add_bench_step(CLI::App& bench) {
  auto* const command = bench.add_subcommand("step", "Whole training steps: model FLOPs against the matrix peak");
  const auto flags = std::make_shared<BenchFlags>();
  const auto names = std::make_shared<std::vector<std::string>>();
  const auto precision = std::make_shared<std::string>("auto");
  std::vector<std::string> known;
  for (const StepModel& row : kModels) known.emplace_back(row.name);
  command->add_option("models", *names, "Names; none: the two small ones (the large take minutes and up to 21 GiB)")
      ->check(CLI::IsMember(known))
      ->type_name("MODEL");
  command->add_option("--precision", *precision, "auto, fp32 or bf16");
  add_bench_flags(*command, flags, [flags, names, precision] {
    const std::vector<std::string> chosen =
        names->empty() ? std::vector<std::string>{"dense-6x256", "moe16-6x256"} : *names;
    for (const std::string& name : chosen)
      for (const StepModel& row : kModels)
        if (name == row.name) run_model(*flags, row, parse_precision(*precision));
  });
}

}  // namespace troupe::cli
