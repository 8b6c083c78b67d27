#include "eval/tasks/average.h"

#include <algorithm>
#include <vector>

namespace troupe {
namespace {

constexpr std::string_view kNames[kStudyTasks] = {"record",     "hellaswag",  "piqa",
                                                  "winogrande", "storycloze", "openbookqa"};

}  // namespace

bool is_study_task(std::string_view task) {
  return std::find(std::begin(kNames), std::end(kNames), task) != std::end(kNames);
}

std::optional<Estimate> study_average(std::span<const TaskFigure> figures) {
  std::vector<Estimate> estimates;
  for (const TaskFigure& figure : figures) {
    if (figure.left_out > 0) return std::nullopt;
    estimates.push_back({figure.value, figure.item_error});
  }
  if (estimates.size() != kStudyTasks) return std::nullopt;
  return mean_of_independent(estimates);
}

}  // namespace troupe
