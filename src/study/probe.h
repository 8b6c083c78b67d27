// How fast this machine trains a model: a few real steps on random tokens.
#pragma once

#include "train/run_config.h"

namespace troupe {

// Tokens per second of whole training steps, the median over about `seconds` of them after a warm-up step.
double probe_training(const RunConfig& config, double seconds);

}  // namespace troupe
