#include "study/report.h"

#include <cmath>
#include <map>
#include <set>

#include "base/error.h"
#include "io/atomic_file.h"
#include "io/toml_config.h"
#include "model/decoder_parameters.h"
#include "model/flops.h"
#include "train/run_config.h"
#include "train/run_folder.h"

namespace troupe {

double ReportDomain::perplexity() const { return std::exp(nll); }

namespace {

// Runs made before names of validation sets were told apart: of sets of one name each is shown, the second as
// "valid (2)". `sets` are those of the configuration; without two of one name a repeated line is a repeated validation.
void tell_apart(std::vector<ValidPoint>& points, size_t sets) {
  std::set<std::string> names;
  for (const ValidPoint& point : points) names.insert(point.data);
  if (names.size() >= sets) return;
  std::map<std::pair<int64_t, std::string>, int64_t> seen;
  for (ValidPoint& point : points)
    if (const int64_t count = ++seen[{point.step, point.data}]; count > 1) point.data += fmt::format(" ({})", count);
}

}  // namespace

ReportRun read_run(const std::filesystem::path& folder, const std::string& name) {
  const RunFiles files{folder};
  ReportRun run{.name = name};
  RunConfig config;
  const std::filesystem::path config_path = files.config();
  run.config = read_file(config_path);
  FieldList fields = fields_of(config);
  read_config_text(run.config, config_path.string(), folder, fields);
  run.params = make_parameter_table(config.model).num_parameters();
  run.active_params = num_active_parameters(config.model);
  run.flops_per_token = train_flops_per_token(config.model, config.model.context);
  run.metrics = read_metrics(files.metrics());
  tell_apart(run.metrics.valid, config.data.valid.size());
  if (run.metrics.train.empty())
    fail(ErrorCode::kData, "{}: expected at least one line of training, got none", files.metrics().string());
  run.tokens = run.metrics.train.back().tokens;
  run.seconds = run.metrics.train.back().time_s;
  run.computed_by = RunHistory(folder).computed_by();
  for (const ValidPoint& point : run.metrics.valid)
    if (point.step == run.metrics.valid.back().step)
      run.domains.push_back({point.data, false, point.nll, point.bits_per_byte, point.drop_rate});
  return run;
}

void write_report(const std::filesystem::path& path, const Report& report) {
  write_file_atomically(path, to_html(report));
}

}  // namespace troupe
