// The configuration file of a run, as the commands read it.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "train/run_config.h"

namespace troupe::cli {

using RunFile = RunConfig;  // a recipe, tables [model], [train], [data]

// Reads the file with its bases and the overrides "key=value", and checks the rules; throws kUsage.
RunFile load_run_file(const std::filesystem::path& path, const std::vector<std::string>& overrides);

}  // namespace troupe::cli
