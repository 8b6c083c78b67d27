#include "cli/device.h"

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdlib>
#include <string_view>

#include "base/device.h"
#include "base/error.h"
#include "base/log.h"
#include "dist/communicator.h"
#include "kernels/cuda/driver.h"
#include "ops/cuda/attention.h"
#include "ops/cuda/cudnn.h"
#include "troupe/config.h"

namespace troupe::cli {
namespace {

constexpr std::string_view kAuto = "auto", kCpu = name_of_enum(Device::kCpu), kCuda = name_of_enum(Device::kCuda);

std::string device_flag;  // "": not given

// After what says which card is used.
void say_what_differs() {
  if (!is_deterministic())
    log::info("{} is 0: attention adds up gradients in any order, so that two runs differ in their last bits",
              kDeterministicVariable);
}

// The number of a card in "cuda" or "cuda:N"; -1 if it is neither.
int card_number(std::string_view name) {
  if (name == kCuda) return 0;
  if (!name.starts_with(fmt::format("{}:", kCuda))) return -1;
  int number = -1;
  const std::string_view digits = name.substr(kCuda.size() + 1);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  return error == std::errc() && end == digits.data() + digits.size() && digits[0] != '-' ? number : -1;
}

// Why it is the name of no device, or "".
std::string problem_of_name(const std::string& name) {
  if (name == kCpu || name == kAuto || card_number(name) >= 0) return {};
  return fmt::format("expected cpu, auto, cuda or cuda:N, got {}", name);
}

struct Wish {
  std::string device;
  const char* said_by;
};

Wish wish() {
  if (!device_flag.empty()) return {device_flag, "--device"};
  const char* const value = std::getenv(kDeviceVariable);
  const std::string device = value && *value ? value : std::string(kAuto);
  if (const std::string problem = problem_of_name(device); !problem.empty())
    fail(ErrorCode::kUsage, "{}: {}", kDeviceVariable, problem);
  return {device, kDeviceVariable};
}

}  // namespace

CLI::Option* add_device_flag(CLI::App& command) {
  return command
      .add_option_function<std::string>(
          "--device", [](const std::string& name) { device_flag = name; },
          "where the model lies and runs: auto, a GPU if one works, else the processor; cpu; cuda or cuda:N, that GPU; "
          "not given: as TROUPE_DEVICE says")
      ->check(CLI::Validator([](std::string& name) { return problem_of_name(name); }, "", "device"))
      ->type_name("cpu|auto|cuda|cuda:N")
      ->default_str(std::string(kAuto))
      ->trigger_on_parse();
}

bool wants_card() { return card_number(wish().device) >= 0; }

void choose_device(const std::string& refusal) {
  const auto [device, said_by] = wish();
  if (device == kCpu) return;
  if (device != kAuto) {
    if (!refusal.empty()) fail(ErrorCode::kUsage, "{}: expected cpu, got {}: {}", said_by, device, refusal);
    if (active_device() == Device::kCuda) return;
    cuda::open_card(card_number(device));
    return say_what_differs();
  }
  cuda::Survey found;
  try {
    found = cuda::survey();
    if (found.no_card) return;
    if (!refusal.empty()) found.problem = refusal;
    if (found.problem.empty()) cuda::open_card(0);
  } catch (const Error& error) {
    found.problem = error.what();
  }
  if (!found.problem.empty()) return log::info("device: cpu; no GPU is used: {}", found.problem);
  log::info("device: cuda:0, {}", found.cards[0].name);
  say_what_differs();
}

void assume_device(const ModelConfig& config) {
  if (wants_card())
    use_device(Device::kCuda);
  else
    choose_device_for(config);
}

void choose_device_for(const ModelConfig& config, const Communicator* ranks) { choose_device_for({&config, 1}, ranks); }

void choose_device_for(std::span<const ModelConfig> models, const Communicator* ranks) {
  std::string refusal = ranks ? kRanksRefusal : "";
  for (const ModelConfig& model : models)
    if (refusal.empty()) refusal = refuses_wide_heads(model.head_width());
  choose_device(refusal);
}

}  // namespace troupe::cli
