// The mean accuracy over the six tasks that the study reports (Artetxe et al. 2021, figure 4).
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

#include "eval/statistics.h"
#include "eval/tasks/run_task.h"

namespace troupe {

constexpr size_t kStudyTasks = 6;
bool is_study_task(std::string_view task);

// Of the paper's accuracies of these tasks: nothing unless all six are there, and whole. The error is over items, those
// of different tasks being independent.
std::optional<Estimate> study_average(std::span<const TaskFigure> figures);

}  // namespace troupe
