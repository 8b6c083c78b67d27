#include "study/probe.h"

#include <vector>

#include "base/clock.h"
#include "base/median.h"
#include "train/pretrain.h"
#include "train/random_batch.h"

namespace troupe {

double probe_training(const RunConfig& config, double seconds, Communicator* ranks) {
  LanguageModel model(config.model, precision_of(config.train.precision),
                      {.recompute = config.train.recompute, .ranks = ranks});
  initialize(model.params(), static_cast<uint64_t>(config.train.seed));
  const int64_t rows = micro_batch(config.train);
  Trainer trainer(model, Schedule(config.train.schedule, 1000), trainer_options(config.train),
                  [&](int64_t step, int64_t micro) {
                    return random_batch(rows, config.model.context, config.model.vocab_size, step, micro);
                  });
  trainer.step();
  std::vector<double> rates;
  const Clock::time_point begin = Clock::now();
  const auto goes_on = [&] {
    const bool own = seconds_since(begin) < seconds;
    return ranks ? ranks->any(ranks->is_first() && own, "a probe") : own;
  };
  do {
    const Clock::time_point start = Clock::now();
    const StepStats stats = trainer.step();
    rates.push_back(static_cast<double>(stats.loss.tokens) / seconds_since(start));
  } while (goes_on());
  return median(rates);
}

}  // namespace troupe
