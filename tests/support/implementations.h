// The rows of an op's list, for tests that run every one that can run here.
#pragma once

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/cuda/machine.h"
#include "ops/op.h"

namespace troupe::test {

// The names of the rows that can run in this process, in the order of the list; those for CUDA after them, where a GPU
// or the emulated grid is in use.
template <class Task>
std::vector<std::string_view> usable() {
  std::vector<std::string_view> names;
  for (const Implementation<Task>& row : Task::implementations())
    if (reason_against(row, active_device()).empty()) names.push_back(row.name);
  for (const Implementation<Task>& row : Task::implementations())
    if (row.device != active_device() && reason_against(row, row.device).empty()) names.push_back(row.name);
  return names;
}

template <class Task>
const Implementation<Task>& row_named(std::string_view name) {
  for (const Implementation<Task>& row : Task::implementations())
    if (row.name == name) return row;
  throw std::runtime_error("no row " + std::string(name));
}

// Runs the row of that name; if it is one for some tasks and refuses this one or is not in its list, that of our plain
// kernels (but the stand-in for cuBLASLt takes what starts anywhere). An op's forward and backward tasks have lists with
// the same names.
template <class Task>
void run_as(std::string_view name, const Task& task) {
  const bool on_card = cuda::machine() && cuda::machine()->stream();
  const bool may_refuse = name == "grouped" || name == "cutlass" || name == "cublaslt" || name == "cudnn" ||
                          name == "tensor_cores";
  for (const Implementation<Task>& row : Task::implementations())
    if (row.name == name) {
      if (const std::string refusal = may_refuse ? row.refusal(task) : "";
          !refusal.empty() && (on_card || name != "cublaslt" || !refusal.ends_with("multiples of 16 bytes")))
        return run_as("cuda", task);
      return row.run(task, Context::of_this_thread());
    }
  if (may_refuse) return run_as("cuda", task);
  FAIL() << describe(task) << " has no row " << name;
}

}  // namespace troupe::test
