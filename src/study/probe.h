// How fast this machine trains a model: a few real steps on random tokens.
#pragma once

#include "dist/communicator.h"
#include "train/run_config.h"

namespace troupe {

// Tokens per second of whole training steps, the median over about `seconds` of them after a warm-up step; of `ranks`
// together, as the first one measures it (nullptr: one process).
double probe_training(const RunConfig& config, double seconds, Communicator* ranks = nullptr);

}  // namespace troupe
