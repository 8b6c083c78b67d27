// troupe bench eval: scoring requests against a whole forward pass with its loss over as many tokens, in turns.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "base/clock.h"
#include "base/median.h"
#include "base/rng.h"
#include "cli/bench.h"
#include "eval/requests.h"

namespace troupe::cli {
namespace {

constexpr int64_t kSequences = 32, kContext = 256, kVocab = 8192;

ModelConfig config_of(int64_t experts) {
  ModelConfig config;
  config.num_layers = 6, config.d_model = 256, config.num_heads = 4, config.d_ff = 1024;
  config.vocab_size = kVocab, config.context = kContext, config.moe.num_experts = experts;
  return config;
}

std::vector<int32_t> random_ids(Rng& rng, int64_t count) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < count; ++i) ids.push_back(static_cast<int32_t>(rng.below(kVocab)));
  return ids;
}

// Requests of different contexts, nothing to share, `longest` tokens at most and a quarter of each scored; together as
// many tokens as the forward pass has.
std::vector<ScoreRequest> random_requests(int64_t longest) {
  Rng rng(static_cast<uint64_t>(longest));
  std::vector<ScoreRequest> requests;
  for (int64_t left = kSequences * kContext; left > 0;) {
    const int64_t length = std::min<int64_t>(
        left, longest / 4 + static_cast<int64_t>(rng.below(static_cast<uint64_t>(longest - longest / 4 + 1))));
    const int64_t scored = std::max<int64_t>(1, length / 4);
    // Inputs are the context and all but the last token of the continuation.
    requests.push_back({random_ids(rng, length - scored + 1), random_ids(rng, scored)});
    left -= length;
  }
  return requests;
}

template <class Work>
double seconds_of(const Work& work) {
  const Clock::time_point start = Clock::now();
  work();
  return seconds_since(start);
}

void run_model(const BenchFlags& flags, const char* name, int64_t experts, int64_t longest) {
  LanguageModel model(config_of(experts), Precision::kBf16);
  initialize(model.params(), 1);
  Rng rng(1);
  Batch batch{.B = kSequences, .S = kContext};
  batch.src = random_ids(rng, batch.tokens()), batch.tgt = random_ids(rng, batch.tokens());
  const std::vector<ScoreRequest> requests = random_requests(longest);

  const auto forward = [&] { return seconds_of([&] { model.score(batch, {}); }); };
  const auto score = [&] {
    return seconds_of([&] {
      RequestStats stats;
      score_requests(model, requests, {}, stats);
    });
  };
  forward(), score();  // the first pass plans memory
  std::vector<double> ratios, times;
  const Clock::time_point begin = Clock::now();
  double before = forward();
  while (ratios.size() < 3 || seconds_since(begin) < flags.seconds) {
    times.push_back(score());
    const double after = forward();
    ratios.push_back(0.5 * (before + after) / times.back());
    before = after;
  }
  const auto tokens = static_cast<double>(batch.tokens());
  const double rate = tokens / median(times), ratio = median(ratios);
  print_line(flags, {.name = name,
                     .shape = fmt::format("{} requests, up to {} tokens", requests.size(), longest),
                     .value = rate / 1e3,
                     .unit = "ktokens/s",
                     .peak = rate / ratio / 1e3,
                     .ratio = ratio,
                     .peak_name = "forward pass",
                     .repetitions = static_cast<int64_t>(ratios.size())});
}

}  // namespace

void add_bench_eval(CLI::App& bench) {
  auto* const command = bench.add_subcommand("eval", "Scoring requests against a forward pass of as many tokens");
  const auto flags = std::make_shared<BenchFlags>();
  add_bench_flags(
      *command, flags,
      [flags] {
        for (const int64_t longest : {24, 96, 256}) {
          run_model(*flags, "score-dense-6x256", 0, longest);
          run_model(*flags, "score-moe16-6x256", 16, longest);
        }
      },
      BenchDevices::kCpu);
}

}  // namespace troupe::cli
