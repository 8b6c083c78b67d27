// Rotary positions and their scaling in a config.json, the same in every family that has them: "rope_parameters" since
// transformers 5; "rope_theta" and "rope_scaling" before, which releases on both sides read.
#pragma once

#include "model/hf/hf_config.h"

namespace troupe {

void rope_settings(HfConfig& hf, ModelConfig& c, double usual_theta = 10000.0, double usual_part = 1.0,
                   const char* theta_key = "rope_theta", const char* part_key = "partial_rotary_factor");

}  // namespace troupe
