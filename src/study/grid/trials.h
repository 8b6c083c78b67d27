// The search for a learning rate: as many trainings for every family and size, on a grid of factors 2.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

namespace troupe {

using TrialScores = std::map<double, double>;  // rate -> nats per token on validation text; infinite: diverged

// Rates to train now, given what is finished: the family's own, half and twice it; then one after the other beyond the
// end that is best, or nearer to the best. Empty when all `count` are finished. A function of the scores alone, so that
// all processes agree.
std::vector<double> rates_to_try(double own, int64_t count, const TrialScores& finished);

// The rate with the lowest score; `inside`: with a worse one on either side.
struct BestRate {
  double lr = 0.0;
  bool inside = false;
};
BestRate best_rate(const TrialScores& finished);

}  // namespace troupe
