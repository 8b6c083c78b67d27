// The same models trained with several seeds: how far apart are the trainings?
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "study/result.h"

namespace troupe {

// A value of one model, or a difference of two, in trainings of several seeds.
struct Spread {
  std::vector<double> values;  // a seed each

  double mean() const;
  double deviation() const;      // of the sample (n - 1); NaN for one
  double half_interval() const;  // half of the 95 % interval of the mean, by t over seeds; NaN for one
  Verdict verdict() const;       // of a difference; of two models, not of two checkpoints
};

// A model on one text: nats per token, and the difference to the baseline (the first model) of the same seed.
struct SeedResult {
  std::string model, baseline;
  DomainResult domain;  // of the first seed
  Spread nll;
  Spread difference;  // of the baseline itself empty
};

// `by_seed`: the same models in the same order for every seed.
std::vector<SeedResult> spread_over_seeds(const std::vector<std::vector<ModelResult>>& by_seed);

}  // namespace troupe
