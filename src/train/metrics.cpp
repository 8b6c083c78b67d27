#include "train/metrics.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/atomic_file.h"
#include "io/json_text.h"
#include "ops/route/losses.h"

namespace troupe {
namespace {

using nlohmann::ordered_json;

ordered_json router_line(const RouterStats& stats) {
  int64_t routed = 0;
  for (const int64_t rows : stats.load_E) routed += rows;
  ordered_json load = ordered_json::array();
  for (const int64_t rows : stats.load_E)
    load.push_back(routed ? static_cast<double>(rows) / static_cast<double>(routed) : 0.0);
  const auto num_choices = static_cast<int64_t>(stats.dropped_K.size());
  return {{"layer", stats.layer},
          {"load", load},
          {"entropy", stats.entropy()},
          {"aux_loss", stats.loss(kBalanceLoss)},
          {"overflow1", num_choices > 0 ? stats.drop_rate(0) : 0.0},
          {"overflow2", num_choices > 1 ? stats.drop_rate(1) : 0.0},
          {"unused_experts", stats.unused_experts()},
          {"top20", stats.busiest_fifth()},
          {"bottom20", stats.idlest_fifth()}};
}

ordered_json state_of(const RouterStats& stats) {
  return {{"layer", stats.layer},          {"tokens", stats.tokens},           {"load", stats.load_E},
          {"dropped", stats.dropped_K},    {"entropy_sum", stats.entropy_sum}, {"aux", stats.loss(kBalanceLoss)},
          {"aux_tokens", stats.loss_tokens}};
}

}  // namespace

void MetricsInterval::add(const StepStats& stats, double step_seconds) {
  loss += stats.loss;
  seconds += step_seconds;
  routers.resize(stats.routers.size());
  for (size_t i = 0; i < routers.size(); ++i) routers[i] += stats.routers[i];
}

ordered_json MetricsInterval::to_json() const {
  ordered_json layers = ordered_json::array();
  for (const RouterStats& stats : routers) layers.push_back(state_of(stats));
  return {{"nll", loss.nll},         {"aux", loss.aux},         {"total", loss.total}, {"tokens", loss.tokens},
          {"choices", loss.choices}, {"dropped", loss.dropped}, {"seconds", seconds},  {"routers", layers}};
}

MetricsInterval MetricsInterval::from_json(const nlohmann::json& object) {
  MetricsInterval interval;
  interval.loss = {.nll = number_or_nan(object.at("nll")),
                   .aux = number_or_nan(object.at("aux")),
                   .total = number_or_nan(object.at("total")),
                   .tokens = object.at("tokens"),
                   .choices = object.at("choices"),
                   .dropped = object.at("dropped")};
  interval.seconds = number_or_nan(object.at("seconds"));
  for (const nlohmann::json& layer : object.at("routers")) {
    RouterStats& stats = interval.routers.emplace_back();
    stats.layer = layer.at("layer");
    stats.tokens = layer.at("tokens");
    stats.load_E = layer.at("load").get<std::vector<int64_t>>();
    stats.dropped_K = layer.at("dropped").get<std::vector<int64_t>>();
    stats.entropy_sum = number_or_nan(layer.at("entropy_sum"));
    stats.losses.push_back({.name = kBalanceLoss, .mean = number_or_nan(layer.at("aux"))});
    stats.loss_tokens = layer.at("aux_tokens");
  }
  return interval;
}

ordered_json train_line(const StepStats& last, const MetricsInterval& interval, const RunTotals& totals,
                        double flops_per_token, double peak_flops) {
  const auto tokens = static_cast<double>(interval.loss.tokens);
  const double loss = interval.loss.nll / tokens, tokens_per_s = tokens / interval.seconds;
  ordered_json line = {{"schema", "troupe.train/1"},
                       {"step", last.step},
                       {"loss", loss},
                       {"ppl", std::exp(loss)},
                       {"aux_loss", interval.loss.aux / tokens},
                       {"lr", last.lr},
                       {"grad_norm", last.grad_norm},
                       {"tokens", totals.tokens},
                       {"tokens_per_s", tokens_per_s},
                       {"mfu", nullptr},
                       {"drop_rate", interval.loss.drop_rate()},
                       {"time_s", totals.seconds}};
  if (const double flops = flops_per_token * tokens_per_s; flops <= peak_flops) line["mfu"] = flops / peak_flops;
  ordered_json& moe = line["moe"] = ordered_json::array();
  for (const RouterStats& stats : interval.routers) moe.push_back(router_line(stats));
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
