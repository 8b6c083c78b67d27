// How fast this machine trains each model of a grid: measured once, in turns, and kept. Seconds of a study are tokens
// over these speeds, so that what else ran meanwhile plays no part.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "study/grid/grid.h"
#include "study/study.h"
#include "study/token_plan.h"

namespace troupe {

struct ModelSpeed {
  std::string model;  // GridModel::name()
  int64_t params = 0;
  double flops_per_token = 0.0;  // with params: the model that was measured
  double tokens_per_s = 0.0;

  template <class V>
  void fields(V& v) {
    v("model", model), v.count("params", params), v("flops_per_token", flops_per_token),
        v("tokens_per_s", tokens_per_s);
  }
};

struct Speeds {
  std::vector<ModelSpeed> models;
  double load = 0.0;  // of the machine before the measurement, the most of several; below 0: unknown
  int64_t threads = 0;
  nlohmann::json provenance;

  // NaN if it was not measured.
  double of(const GridModel& model) const;
  // Another program had the machine.
  bool disturbed() const { return load > 0.5; }

  template <class V>
  void fields(V& v) {
    v.constant("schema", "troupe.study.speeds/1");
    v("models", models), v("load", load), v.count("threads", threads), v("provenance", provenance);
  }
};

// What is kept in `file`; empty without it.
Speeds read_speeds(const std::filesystem::path& file);

// Measures what `known` lacks by `speed` (of models of the grid), for about `seconds` each.
Speeds probe_speeds(const Grid& grid, double seconds, Speeds known, const MeasureSpeed& speed,
                    const StudyEvents& events);

// Measures what is not in the file yet, or everything `anew`, for about `seconds` each, and writes it.
Speeds measure_speeds(const Grid& grid, double seconds, bool anew, const std::filesystem::path& file,
                      const MeasureSpeed& speed, const StudyEvents& events);

}  // namespace troupe
