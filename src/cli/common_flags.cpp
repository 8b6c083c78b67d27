#include "cli/common_flags.h"

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdlib>
#include <string_view>

#include "base/device.h"
#include "base/log.h"
#include "base/log_settings.h"
#include "base/threads.h"
#include "cli/choice.h"
#include "cli/color.h"
#include "cli/validators.h"
#include "kernels/cuda/driver.h"

namespace troupe::cli {
namespace {

constexpr int64_t kMostThreads = 4096;
constexpr const char* kGroup = "Everywhere";

void use_threads(int64_t threads) {
  setenv("OMP_NUM_THREADS", std::to_string(threads).c_str(), 1);  // which says why there are as many
  unsetenv("TROUPE_PLACED");
  omp_set_num_threads(static_cast<int>(threads));
}

constexpr std::string_view kCpu = name_of_enum(Device::kCpu), kCuda = name_of_enum(Device::kCuda);

// The number of a card in "cuda" or "cuda:N"; -1 if it is neither.
int card_number(std::string_view name) {
  if (name == kCuda) return 0;
  if (!name.starts_with(fmt::format("{}:", kCuda))) return -1;
  int number = -1;
  const std::string_view digits = name.substr(kCuda.size() + 1);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  return error == std::errc() && end == digits.data() + digits.size() && digits[0] != '-' ? number : -1;
}

// "auto" takes a card if there is one that works, and says so.
void use_device_named(const std::string& name) {
  if (name == kCpu) return;
  if (name != "auto") return cuda::open_card(card_number(name));
  const cuda::Survey found = cuda::survey();
  if (!found.problem.empty()) return log::info("device: cpu ({})", found.problem);
  cuda::open_card(0);
  log::info("device: {}", cuda::machine()->description());
}

const CLI::Validator kDevice(
    [](std::string& name) {
      if (name == kCpu || name == "auto" || card_number(name) >= 0) return std::string();
      return fmt::format("expected cpu, auto, cuda or cuda:N, got {}", name);
    },
    "", "device");

}  // namespace

void add_common_flags(CLI::App& command) {
  log::set_color(is_colored(Stream::kError));
  static ColorWhen when = ColorWhen::kAuto;
  CLI::Option* const color = command.add_option_function<std::string>(
      "--color",
      [](const std::string& name) {
        when = enum_of_name<ColorWhen>(name).value();
        set_color(when);
        log::set_color(is_colored(Stream::kError));
      },
      "colours; auto: on a terminal, unless NO_COLOR is set or TERM is dumb");
  limit_to(color, names_of_enum<ColorWhen>())->default_str("auto")->trigger_on_parse()->group(kGroup);
  command
      .add_flag_callback("-q,--quiet", [] { log::set_quiet(true); }, "no log and no progress: warnings and errors only")
      ->trigger_on_parse()
      ->group(kGroup);
  command
      .add_option_function<int64_t>("--threads", use_threads,
                                    "threads; one per core if neither this nor OMP_NUM_THREADS is given")
      ->transform(whole_number(1, kMostThreads))
      ->type_name("N")
      ->default_str("")
      ->trigger_on_parse()
      ->group(kGroup);
  command
      .add_option_function<std::string>("--device", use_device_named,
                                        "where the model lies and runs: cpu; cuda or cuda:N, a GPU; auto, a GPU if one works")
      ->check(kDevice)
      ->type_name("cpu|auto|cuda|cuda:N")
      ->default_str("cpu")
      ->trigger_on_parse()
      ->group(kGroup);
  for (CLI::App* sub : command.get_subcommands([](const CLI::App*) { return true; })) add_common_flags(*sub);
}

}  // namespace troupe::cli
