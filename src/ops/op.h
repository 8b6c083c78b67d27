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
#include "base/error.h"
#include "base/isa.h"
#include "base/log.h"
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

// Why an implementation cannot run in this process on that device, or "".
template <class Task>
std::string reason_against(const Implementation<Task>& row, Device device) {
  if (row.device != device) return fmt::format("the device in use is {}", name_of_enum(device));
  return row.unavailable ? row.unavailable() : std::string();
}

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

// "layer_norm_forward (bf16)"
template <template <class> class Op, class T>
std::string describe(const Op<T>&) {
  return fmt::format("{} ({})", Op<T>::kName, kNumbers<T>);
}

// The implementations that can run in this process on that device, down to the first that takes every task.
template <class Task>
std::vector<Implementation<Task>> candidates(const Task& task, Implementations<Task> list, Device device) {
  std::vector<Implementation<Task>> rows;
  for (const Implementation<Task>& row : list) {
    if (const std::string reason = reason_against(row, device); !reason.empty()) {
      log::topic("dispatch", "{}: not {} ({})", describe(task), row.name, reason);
      continue;
    }
    log::topic("dispatch", "{}: {}{}", describe(task), row.name, row.refusal ? ", unless it refuses a task" : "");
    rows.push_back(row);
    if (!row.refusal) break;
  }
  return rows;
}

// Runs the first of the candidates that takes the task.
template <class Task>
void run_first(const std::vector<Implementation<Task>>& rows, const Task& task, Context& context) {
  for (const Implementation<Task>& row : rows) {
    if (!row.refusal) return row.run(task, context);
    const std::string reason = row.refusal(task);
    if (reason.empty()) return row.run(task, context);
    log::topic("dispatch", "{}: not {} ({})", describe(task), row.name, reason);
  }
  if (active_device() != Device::kCpu)
    fail(ErrorCode::kEnvironment, "{}: expected an implementation for {}, got none that takes it (--device cpu)",
         describe(task), name_of_enum(active_device()));
  fail(ErrorCode::kInternal, "{}: no implementation accepts", describe(task));
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
  run_first(rows, task, context);
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

template <Isa level>
std::string refuses_below() {
  if (active_isa() >= level) return {};
  return fmt::format("the instruction set in use is {}", name_of_enum(active_isa()));
}

template <class Task, Isa level, class Kernel>
Implementation<Task> row_at_level() {
  return {name_of_enum(level),
          [](const Task& task, Context& context) { Kernel{}.template operator()<level>(task, context); }, Device::kCpu,
          refuses_below<level>};
}

template <class Task, class Reference>
Implementation<Task> reference_row() {
  return {"ref", [](const Task& task, Context&) { Reference{}(task); }};
}

// kernel.operator()<level>(task, context) at each level, then reference(task); both without captures.
template <class Task, Isa... levels, class Kernel, class Reference>
std::vector<Implementation<Task>> rows_at(Levels<levels...>, const Kernel&, const Reference&) {
  return {row_at_level<Task, levels, Kernel>()..., reference_row<Task, Reference>()};
}

}  // namespace troupe
