#include "study/probe.h"

#include <vector>

#include "base/clock.h"
#include "base/median.h"
#include "base/rng.h"
#include "train/trainer.h"

namespace troupe {

double probe_training(const RunConfig& config, double seconds) {
  LanguageModel model(config.model, parse_precision(config.train.precision), {.recompute = config.train.recompute});
  initialize(model.params(), static_cast<uint64_t>(config.train.seed));
  const int64_t rows = config.train.micro_sequences > 0 ? config.train.micro_sequences : config.train.batch_sequences;
  const auto random_batch = [&](int64_t step, int64_t micro) {
    Batch batch{.B = rows, .S = config.model.context, .src = {}, .tgt = {}, .first_sequence = micro * rows};
    Rng rng(static_cast<uint64_t>(step), static_cast<uint64_t>(micro));
    for (int64_t i = 0; i < batch.tokens(); ++i) {
      batch.src.push_back(static_cast<int32_t>(rng.below(static_cast<uint64_t>(config.model.vocab_size))));
      batch.tgt.push_back(static_cast<int32_t>(rng.below(static_cast<uint64_t>(config.model.vocab_size))));
    }
    return batch;
  };
  Trainer trainer(
      model, Schedule(config.train.schedule, 1000),
      {.seed = 1, .micro_batches = config.train.batch_sequences / rows, .clip_norm = 0.0, .adam = config.train.adam},
      random_batch);
  trainer.step();
  std::vector<double> rates;
  const Clock::time_point begin = Clock::now();
  do {
    const Clock::time_point start = Clock::now();
    const StepStats stats = trainer.step();
    rates.push_back(static_cast<double>(stats.loss.tokens) / seconds_since(start));
  } while (seconds_since(begin) < seconds);
  return median(rates);
}

}  // namespace troupe
