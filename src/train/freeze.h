// Which parameters fine-tuning trains. What is frozen has neither gradients nor moments.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "model/language_model.h"
#include "nn/parameters.h"
#include "train/finetune_config.h"

namespace troupe {

using ChosenExperts = std::map<int64_t, std::set<int64_t>>;  // by layer

// Of every layer the fewest experts to which at least a share `top_p` of the choices went, the busiest first; of equals
// the first. By number of tokens, as ESFT-Token (Wang et al. 2024, Let the Expert Stick to His Last).
ChosenExperts choose_experts(const std::vector<RouterStats>& use, double top_p);

// Empty: everything is trained. `chosen` is for kAllButChosenExperts alone.
Selection trained_of(Freeze freeze, const ChosenExperts& chosen = {});

// Throws kUsage "WHERE: finetune.freeze: ..." if it leaves nothing to train, or asks a dense model for experts.
void check_freeze(Freeze freeze, const ParameterTable& table, const std::string& where);

}  // namespace troupe
