#include "train/metrics.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "eval/statistics.h"
#include "io/atomic_file.h"
#include "io/json_text.h"
#include "ops/route/losses.h"

namespace troupe {
namespace {

using nlohmann::ordered_json;

RouterLine router_line(const RouterStats& stats) {
  RouterLine line{.layer = stats.layer, .load_E = {}};
  int64_t routed = 0;
  for (const int64_t rows : stats.load_E) routed += rows;
  for (const int64_t rows : stats.load_E)
    line.load_E.push_back(routed ? static_cast<double>(rows) / static_cast<double>(routed) : 0.0);
  const auto num_choices = static_cast<int64_t>(stats.dropped_K.size());
  line.entropy = stats.entropy(), line.aux_loss = stats.loss(kBalanceLoss);
  line.z_loss = stats.loss(kRouterZLoss);
  line.overflow1 = num_choices > 0 ? stats.drop_rate(0) : 0.0;
  line.overflow2 = num_choices > 1 ? stats.drop_rate(1) : 0.0;
  line.unused_experts = stats.unused_experts();
  line.top20 = stats.busiest_fifth(), line.bottom20 = stats.idlest_fifth();
  return line;
}

}  // namespace

void MetricsInterval::add(const StepStats& stats, double step_seconds) {
  loss += stats.loss;
  seconds += step_seconds;
  routers.resize(stats.routers.size());
  for (size_t i = 0; i < routers.size(); ++i) routers[i] += stats.routers[i];
}

StepLine train_line(const StepStats& last, const MetricsInterval& interval, const RunTotals& totals,
                    double flops_per_token, double peak_flops) {
  const auto tokens = static_cast<double>(interval.loss.tokens);
  StepLine line{.step = last.step, .loss = interval.loss.nll / tokens, .moe = {}};
  line.ppl = std::exp(line.loss), line.aux_loss = interval.loss.aux / tokens;
  line.z_loss = interval.loss.z / tokens;
  line.lr = last.lr, line.grad_norm = last.grad_norm;
  line.tokens = totals.tokens, line.time_s = totals.seconds;
  line.tokens_per_s = tokens / interval.seconds;
  const double flops = flops_per_token * line.tokens_per_s;
  line.mfu = flops <= peak_flops ? flops / peak_flops : kNan;
  line.drop_rate = interval.loss.drop_rate();
  for (const RouterStats& stats : interval.routers) line.moe.push_back(router_line(stats));
  return line;
}

MetricsFile::MetricsFile(const std::filesystem::path& path, int64_t last_step) : path_(path) {
  std::string kept;
  if (std::filesystem::exists(path)) {
    const std::string old = read_file(path);
    for (size_t begin = 0, end; (end = old.find('\n', begin)) != old.npos; begin = end + 1) {
      const auto line = nlohmann::json::parse(old.begin() + static_cast<int64_t>(begin),
                                              old.begin() + static_cast<int64_t>(end), nullptr, false);
      if (line.is_object() && line.contains("step") && line["step"].is_number_integer() && line["step"] <= last_step)
        kept.append(old, begin, end + 1 - begin);
    }
  }
  write_file_atomically(path, kept);
  fd_ = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  if (fd_ < 0) fail(ErrorCode::kEnvironment, "{}: expected to open it, got: {}", path.string(), std::strerror(errno));
}

MetricsFile::~MetricsFile() { ::close(fd_); }

void MetricsFile::append(const ordered_json& line) {
  const std::string text = json_text(line) + "\n";
  if (::write(fd_, text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    fail(ErrorCode::kEnvironment, "{}: expected to write to it, got: {}", path_.string(), std::strerror(errno));
}

}  // namespace troupe
