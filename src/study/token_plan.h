// How many tokens a study trains each of its models on, so that all trainings take at most study.max_minutes here.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "study/study_config.h"

namespace troupe {

// Tokens per second of the model of this index, measured for so long.
using MeasureSpeed = std::function<double(size_t model, double seconds)>;

// study.tokens where max_minutes is 0; else decided once and kept in `file` (OUT/plan.json) for as long as the study asks
// for the same, so that one that goes on keeps its plan: whole updates of `update_tokens`, a few at least. Throws kData
// if `file` is no plan.
int64_t plan_tokens(const StudyConfig& study, const std::vector<std::string>& models, int64_t update_tokens,
                    const MeasureSpeed& speed, const std::filesystem::path& file);

}  // namespace troupe
