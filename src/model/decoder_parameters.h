// Which parameters a decoder has, in which order and with which initial distribution.
#pragma once

#include "nn/parameters.h"
#include "troupe/config.h"

namespace troupe {

ParameterTable make_parameter_table(const ModelConfig& config);

// Parameters that one token passes through: all but the experts it is not sent to.
int64_t num_active_parameters(const ModelConfig& config);

}  // namespace troupe
