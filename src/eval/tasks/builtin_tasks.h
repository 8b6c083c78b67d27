// The files of tasks/ as they were when the program was built.
#pragma once

#include <span>
#include <string_view>
#include <utility>

namespace troupe {

// File name and content.
std::span<const std::pair<std::string_view, std::string_view>> builtin_tasks();

}  // namespace troupe
