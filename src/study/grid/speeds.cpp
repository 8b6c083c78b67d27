#include "study/grid/speeds.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "base/log.h"
#include "base/median.h"
#include "base/quantity.h"
#include "base/threads.h"
#include "eval/statistics.h"
#include "io/json_fields.h"
#include "io/json_file.h"
#include "io/provenance.h"
#include "model/language_model.h"
#include "study/grid/claim.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;

constexpr int kTurns = 3;

double load_average() {
  double load = 0.0;
  return ::getloadavg(&load, 1) == 1 ? load : -1.0;
}

bool is_of(const ModelSpeed& speed, const GridModel& model) {
  return speed.model == model.name() && speed.params == model.params() &&
         speed.flops_per_token == model.flops_per_token();
}

}  // namespace

double Speeds::of(const GridModel& model) const {
  for (const ModelSpeed& speed : models)
    if (is_of(speed, model)) return speed.tokens_per_s;
  return kNan;
}

Speeds read_speeds(const fs::path& file) {
  Speeds speeds;
  if (fs::exists(file)) read_json_fields(read_json_file(file), file.string(), speeds);
  return speeds;
}

Speeds probe_speeds(const Grid& grid, double seconds, Speeds speeds, const MeasureSpeed& speed,
                    const StudyEvents& events) {
  std::vector<const GridModel*> missing;
  for (const GridModel& model : grid.models)
    if (!(speeds.of(model) > 0.0)) missing.push_back(&model);
  if (missing.empty()) return speeds;
  speeds.load = std::max(speeds.models.empty() ? -1.0 : speeds.load, load_average());
  speeds.threads = num_threads();
  log::info("speed: {} families and sizes in {} turns, {:.1f} s each", missing.size(), kTurns, seconds / kTurns);
  std::vector<std::vector<double>> rates(missing.size());
  for (int turn = 0; turn < kTurns; ++turn)
    for (size_t m = 0; m < missing.size(); ++m) {
      if (events.interrupted && events.interrupted())
        fail(ErrorCode::kInterrupted, "interrupted while speeds were measured: run the same command again");
      rates[m].push_back(speed(static_cast<size_t>(missing[m] - grid.models.data()), seconds / kTurns));
    }
  for (size_t m = 0; m < missing.size(); ++m) {
    const GridModel& model = *missing[m];
    std::erase_if(speeds.models, [&](const ModelSpeed& old) { return old.model == model.name(); });
    speeds.models.push_back({.model = model.name(),
                             .params = model.params(),
                             .flops_per_token = model.flops_per_token(),
                             .tokens_per_s = median(rates[m])});
  }
  speeds.provenance = to_json(provenance(to_string(default_precision())));
  return speeds;
}

Speeds measure_speeds(const Grid& grid, double seconds, bool anew, const fs::path& file, const MeasureSpeed& speed,
                      const StudyEvents& events) {
  if (seconds <= 0.0) return read_speeds(file);
  const auto lock = claim(file, events.interrupted);
  const Speeds known = anew ? Speeds{} : read_speeds(file);
  if (std::all_of(grid.models.begin(), grid.models.end(), [&](const GridModel& m) { return known.of(m) > 0.0; }))
    return known;
  const Speeds speeds = probe_speeds(grid, seconds, known, speed, events);
  write_json_file(file, json_of(speeds));
  if (speeds.disturbed())
    log::warning(
        "{}: expected an idle machine, got a load of {:.1f} before speeds were measured: seconds "
        "and hours are "
        "not what it can do (--measure-speeds measures again)",
        file.string(), speeds.load);
  return speeds;
}

}  // namespace troupe
