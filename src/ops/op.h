// What every op is. Its contract is a task: a struct with inputs, choices and outputs, which says its name (kName) and
// lists its implementations, most specialised first, the scalar reference last. run(task) chooses among them:
// TROUPE_LOG=dispatch prints every choice.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/device.h"
#include "base/isa.h"
#include "kernels/context.h"
#include "tensor/precision.h"

namespace troupe {

template <class Task>
struct Implementation {
  std::string_view name;
  void (*run)(const Task&, Context&);
  Device device = Device::kCpu;
  // Why it cannot run in this process, or "": asked once. nullptr: it can.
  std::string (*unavailable)() = nullptr;
  // Why it does not take this task (its shape, its alignment), or "": asked every time. nullptr: it takes every one.
  std::string (*refusal)(const Task&) = nullptr;
};

template <class Task>
using Implementations = std::span<const Implementation<Task>>;

template <class T>
inline constexpr std::string_view kNumbers = "float64";
template <>
inline constexpr std::string_view kNumbers<float> = "float32";
template <>
inline constexpr std::string_view kNumbers<F32> = "float32";
template <>
inline constexpr std::string_view kNumbers<Bf16> = "bf16";
template <>
inline constexpr std::string_view kNumbers<bf16> = "bf16";
template <>
inline constexpr std::string_view kNumbers<int32_t> = "int32";
template <>
inline constexpr std::string_view kNumbers<uint8_t> = "uint8";

// What is the same for every op is compiled once, in op.cpp; the types of tasks are known here alone.
struct OpName {
  std::string_view op, numbers;
};
std::string describe(const OpName& name);  // "layer_norm_forward (bf16)"
std::string reason_against(Device of_row, std::string (*unavailable)(), Device device);
// Whether a row is a candidate, which the log says.
bool can_run(const OpName& name, std::string_view row, Device of_row, std::string (*unavailable)(), bool may_refuse,
             Device device);
void note_refusal(const OpName& name, std::string_view row, std::string_view reason);
[[noreturn]] void fail_without_row(const OpName& name, Device device);

template <template <class> class Op, class T>
constexpr OpName name_of_op(const Op<T>&) {
  return {Op<T>::kName, kNumbers<T>};
}
template <template <class> class Op, class T>
std::string describe(const Op<T>& task) {
  return describe(name_of_op(task));
}

// Why an implementation cannot run in this process on that device, or "".
template <class Task>
std::string reason_against(const Implementation<Task>& row, Device device) {
  return reason_against(row.device, row.unavailable, device);
}

// The implementations that can run in this process on that device, down to the first that takes every task.
template <class Task>
std::vector<Implementation<Task>> candidates(const Task& task, Implementations<Task> list, Device device) {
  std::vector<Implementation<Task>> rows;
  for (const Implementation<Task>& row : list) {
    if (!can_run(name_of_op(task), row.name, row.device, row.unavailable, row.refusal, device)) continue;
    rows.push_back(row);
    if (!row.refusal) break;
  }
  return rows;
}

// Runs the first of the candidates for that device that takes the task.
template <class Task>
void run_first(const std::vector<Implementation<Task>>& rows, Device device, const Task& task, Context& context) {
  for (const Implementation<Task>& row : rows) {
    if (!row.refusal) return row.run(task, context);
    const std::string reason = row.refusal(task);
    if (reason.empty()) return row.run(task, context);
    note_refusal(name_of_op(task), row.name, reason);
  }
  fail_without_row(name_of_op(task), device);
}

// For tests that want to know whether an op runs in a context (true, then false); nested ops do not count.
inline void (*watch_ops)(bool running) = nullptr;

// candidates() on that device, asked once.
template <class Task>
const std::vector<Implementation<Task>>& kept_candidates(const Task& task, Device device) {
  if (device == Device::kCuda) {
    static const std::vector<Implementation<Task>> on_cuda = candidates(task, Task::implementations(), device);
    return on_cuda;
  }
  static const std::vector<Implementation<Task>> on_cpu = candidates(task, Task::implementations(), device);
  return on_cpu;
}

template <class Task>
void run_on(Device device, const Task& task, Context& context) {
  const std::vector<Implementation<Task>>& rows = kept_candidates(task, device);
  const Context::Running outermost(context, watch_ops);
  run_first(rows, device, task, context);
}

template <class Task>
void run(const Task& task, Context& context = Context::of_this_thread()) {
  run_on(active_device(), task, context);
}

// Lists for processors. A row that exists at a level of instruction sets has the level's name.
template <Isa... levels>
struct Levels {};

// The levels of passes over vectors (AVX512-BF16 and AMX have nothing to add to them) and of products, by precision or
// type. In double there is the reference alone.
template <class T>
constexpr bool kInDouble = std::is_same_v<T, F64> || std::is_same_v<T, double>;
template <class T>
using VectorLevels = std::conditional_t<kInDouble<T>, Levels<>, Levels<Isa::kAvx512, Isa::kAvx2, Isa::kGeneric>>;
template <class P>
using ProductLevels =
    std::conditional_t<std::is_same_v<P, Bf16>,
                       Levels<Isa::kAmx, Isa::kAvx512Bf16, Isa::kAvx512, Isa::kAvx2, Isa::kGeneric>, VectorLevels<P>>;

std::string refuses_below(Isa level);

template <class Task, Isa level, class Kernel>
Implementation<Task> row_at_level() {
  return {name_of_enum(level), [](const Task& task, Context& context) { Kernel{}(level, task, context); }, Device::kCpu,
          [] { return refuses_below(level); }};
}

template <class Task, class Reference>
Implementation<Task> reference_row() {
  return {"ref", [](const Task& task, Context&) { Reference{}(task); }};
}

// kernel(level, task, context) at each level, then reference(task); both without captures.
template <class Task, Isa... levels, class Kernel, class Reference>
std::vector<Implementation<Task>> rows_at(Levels<levels...>, const Kernel&, const Reference&) {
  return {row_at_level<Task, levels, Kernel>()..., reference_row<Task, Reference>()};
}

}  // namespace troupe
