// How many places an expert has in a routing group (fairseq modules/moe/top1gate.py, top2gate.py, branch moe).
#pragma once

#include <cstdint>

#include "troupe/config.h"

namespace troupe {

// Places per expert in this pass.
struct CapacityRule {
  enum Kind { kConfigured, kDropless, kTraining, kFraction } kind = kConfigured;
  double fraction = 0.0;  // kFraction: ceil(fraction * S)
};

// S of a group -> places per expert; INT64_MAX if dropless.
int64_t expert_capacity(const MoeConfig& config, const CapacityRule& rule, bool training, int64_t group_tokens);

}  // namespace troupe
