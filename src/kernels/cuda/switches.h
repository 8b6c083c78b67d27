// The variables of the environment that choose between ways to compute on a GPU, to be measured beside what is the
// default. All of them stand here; docs/architecture.md says what each is good for.
#pragma once

#include <span>
#include <string_view>

namespace troupe::cuda {

struct Switch {
  const char* name;
  std::span<const std::string_view> values;
};

inline constexpr std::string_view kOffOn[] = {"0", "1"};
// 0, 1: experts' products never, always in one launch of our own; cutlass: of CUTLASS'; not set: of our own, those of
// experts with few rows each.
inline constexpr std::string_view kByCutlass = "cutlass";
inline constexpr std::string_view kGroupedWays[] = {"0", "1", kByCutlass};
inline constexpr Switch kGroupedSwitch{"TROUPE_CUDA_GROUPED", kGroupedWays};
// 0: attention's backward pass adds in any order, faster, and two runs differ in their last bits.
inline constexpr Switch kDeterministicSwitch{"TROUPE_CUDA_DETERMINISTIC", kOffOn};
// 1: the library sums up the gradients of biases in the product for that of weights, where it can; else we do.
inline constexpr Switch kBiasSumsSwitch{"TROUPE_CUDA_BIAS_SUMS", kOffOn};
// 1: the host waits after every launch, so that a failure names its kernel.
inline constexpr Switch kWaitSwitch{"TROUPE_CUDA_WAIT", kOffOn};

inline constexpr const Switch* kSwitches[] = {&kGroupedSwitch, &kDeterministicSwitch, &kBiasSumsSwitch, &kWaitSwitch};

// Its value in this process's environment; "" if it is not set, or empty. Throws kUsage for any other than its values.
std::string_view value_of(const Switch& one);
// Throws kUsage if one of kSwitches has another value than its own.
void check_switches();

}  // namespace troupe::cuda
