// troupe metrics: the numbers of a run for spreadsheets and TensorBoard.
#include <CLI/CLI.hpp>
#include <cmath>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/choice.h"
#include "cli/command.h"
#include "cli/output.h"
#include "io/atomic_file.h"
#include "study/metrics_export.h"
#include "train/run_folder.h"

namespace troupe::cli {
namespace {

namespace fs = std::filesystem;

struct MetricsFlags {
  std::string run, format = "csv", out;
  bool json = false;
};

// One file, whose name does not change when it is written again: TensorBoard adds up what it finds in a folder.
fs::path event_file(const fs::path& folder, const std::vector<Scalar>& scalars) {
  const double start = scalars.empty() ? 0.0 : scalars.front().wall_time;
  return folder / fmt::format("events.out.tfevents.{:010}.troupe", std::llround(start));
}

void run(const MetricsFlags& flags) {
  const std::vector<Scalar> scalars = read_scalars(RunFiles{flags.run}.metrics());
  if (flags.json) {
    for (const Scalar& scalar : scalars)
      print_json({{"schema", "troupe.metrics/1"}, {"tag", scalar.tag}, {"step", scalar.step}, {"value", scalar.value}});
    return;
  }
  if (flags.format == "tensorboard") {
    const fs::path folder = flags.out.empty() ? fs::path(flags.run) / "tensorboard" : fs::path(flags.out);
    const fs::path file = event_file(folder, scalars);
    write_file_atomically(file, to_events(scalars));
    return print("{}\n", file.string());
  }
  const std::string csv = to_csv(scalars);
  if (flags.out.empty()) return print_bytes(csv);
  write_file_atomically(flags.out, csv);
  print("{}\n", flags.out);
}

}  // namespace

void add_metrics(CLI::App& app) {
  auto* const command = app.add_subcommand("metrics", "The numbers of a run as CSV or for TensorBoard");
  const auto flags = std::make_shared<MetricsFlags>();
  command->add_option("run", flags->run, "Run folder of `troupe train`")->required()->type_name("RUN");
  CLI::Option* const json = command->add_flag("--json", flags->json, "one JSON object a number: tag, step, value");
  limit_to(command->add_option("--format", flags->format, "csv: a line a step; tensorboard: an event file"),
           {"csv", "tensorboard"})
      ->excludes(json);
  command->add_option("--out", flags->out,
                      "csv: the file, default standard output; tensorboard: the folder, default RUN/tensorboard")
      ->type_name("PATH")
      ->excludes(json);
  command->callback([flags] { run(*flags); });
}

}  // namespace troupe::cli
