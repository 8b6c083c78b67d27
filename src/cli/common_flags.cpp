#include "cli/common_flags.h"

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <string>

#include "base/log.h"
#include "base/log_settings.h"
#include "base/threads.h"
#include "cli/choice.h"
#include "cli/color.h"
#include "cli/device.h"
#include "cli/validators.h"

namespace troupe::cli {
namespace {

constexpr int64_t kMostThreads = 4096;
constexpr const char* kGroup = "Everywhere";

void use_threads(int64_t threads) {
  setenv("OMP_NUM_THREADS", std::to_string(threads).c_str(), 1);  // which says why there are as many
  unsetenv("TROUPE_PLACED");
  omp_set_num_threads(static_cast<int>(threads));
}

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
  add_device_flag(command)->group(kGroup);
  for (CLI::App* sub : command.get_subcommands([](const CLI::App*) { return true; })) add_common_flags(*sub);
}

}  // namespace troupe::cli
