// The data of a run, as its configuration names it, opened and checked against the model.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "data/loader/loader.h"
#include "train/checkpoint.h"
#include "train/run_config.h"
#include "train/validation.h"

namespace troupe {

// data.train. Throws kUsage for weights that fit no dataset and a model that does not fit the vocabulary, kData for
// damaged data.
Loader open_training_data(const RunConfig& config, const std::string& where);
// data.valid: with the tokenizer of the training data, since a loss on another one's ids means nothing.
Validation open_validation_data(const RunConfig& config, const Loader& training, const std::string& where);

std::vector<DatasetIdentity> identities(const Loader& training);

}  // namespace troupe
