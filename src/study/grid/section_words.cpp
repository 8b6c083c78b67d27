#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "base/quantity.h"
#include "study/grid/grid_report.h"
#include "study/grid/grid_sections.h"

namespace troupe::grid_sections {
namespace {

// What the interval leaves open.
std::string verdict_on(const FactorRow& row) {
  if (!row.has_interval()) return "not sure";
  if (row.low > 1.0) return "saves compute";
  return row.high < 1.0 ? "costs more compute" : "no clear difference";
}

std::string sentence(const GridView& view, const std::string& family, const std::string& text) {
  const FactorRow* flops = view.factors.quoted(family, text, "train_flops");
  if (!flops) return {};
  std::string line = fmt::format("{}, {}: {}. Factor {} by FLOPs", view.at_start(text), family, verdict_on(*flops),
                                 factor_text(flops));
  if (const FactorRow* seconds = view.factors.quoted(family, text, "seconds"))
    line += fmt::format(", by seconds {}", factor_text(seconds));
  if (const FactorRow* memory = view.factors.quoted(family, text, "memory_bytes"))
    line += fmt::format(", by memory of training {}", factor_text(memory));
  return line + ".";
}

// Families without a factor on a text, by the reason.
std::vector<std::string> without_factor(const GridView& view, const std::string& text) {
  const auto at = std::find(view.texts.names.begin(), view.texts.names.end(), text);
  const auto t = static_cast<size_t>(at - view.texts.names.begin());
  const auto losses_of = [&](const std::string& family) {
    std::vector<double> losses;
    for (const MeanPoint& mean : view.points)
      if (view.model_of(mean).family == family) losses.push_back(mean.nll[t]);
    return losses;
  };
  const std::vector<double> base = losses_of(view.baseline());
  std::vector<std::string> none, better, outside;
  for (const std::string& family : view.others()) {
    if (view.factors.quoted(family, text, "train_flops")) continue;
    const std::vector<double> own = losses_of(family);
    if (own.empty())
      none.push_back(family);
    else if (!base.empty() && *std::max_element(own.begin(), own.end()) < *std::min_element(base.begin(), base.end()))
      better.push_back(family);
    else
      outside.push_back(family);
  }
  std::vector<std::string> lines;
  const auto say = [&](const std::vector<std::string>& families, const std::string& why) {
    if (!families.empty())
      lines.push_back(fmt::format("{}, no factor: {} ({}).", view.at_start(text), fmt::join(families, ", "), why));
  };
  say(better,
      "every loss is below all that " + view.baseline() + " reached: it would need a larger run to say how much");
  say(outside, "no loss lies within what " + view.baseline() + " reached");
  say(none, "no run is finished");
  return lines;
}

// What is still to come.
std::string so_far(const GridView& view) {
  return fmt::format("So far {} of {} are finished: all of this may change.", view.results.finals.size(),
                     counted(static_cast<int64_t>(view.results.finals.size()) + view.unfinished, "run"));
}

// What intervals hold of other seeds.
void say_spread_of_seeds(const GridView& view, std::vector<std::string>& text) {
  std::vector<std::string> one_seed;
  for (const SeedResiduals& own : view.factors.residuals) {
    if (own.draws() == 0)
      one_seed.push_back(own.family);
    else
      text.push_back(
          fmt::format("{}: seeds of one point differ from their mean by {} nats in domain (root mean square of {}).",
                      own.family, number_text(own.deviation(view.results.texts.size()), 4), own.draws()));
  }
  if (!one_seed.empty())
    text.push_back(fmt::format("No point with {} seeds, and so intervals of documents alone: {}.", kSeedsForResiduals,
                               fmt::join(one_seed, ", ")));
}

// What they lack.
void say_missing_replicates(const GridView& view, std::vector<std::string>& text) {
  double most = 0.0;
  size_t open = 0;
  for (const FactorRow& row : view.factors.rows) {
    if (row.form != "frontier") continue;
    most = std::max(most, row.missing), open += !row.has_interval();
  }
  if (most > 0.0)
    text.push_back(fmt::format(
        "Replicates whose loss left the range that {0} reached have no factor and are missing: {1} at "
        "most. {2} have more than 5 % of them missing: no interval is quoted for these (\"open\"), as the "
        "rest lie on one side. A larger run of {0} would close them.",
        view.baseline(), percent_text(most), counted(static_cast<int64_t>(open), "factor")));
}

// Runs, trials and measures that were not as they should be.
void say_what_went_wrong(const GridView& view, std::vector<std::string>& text) {
  if (view.unfinished > 0)
    text.push_back(fmt::format("{} of the grid are not finished.", counted(view.unfinished, "run")));
  for (const FinishedRun& run : view.results.finals)
    if (run.record.status == RunStatus::kDiverged)
      text.push_back(
          fmt::format("{} diverged and counts for nothing: {}.", name(view.results.grid, run.run), run.record.error));
  for (const GridResults::Trial& trial : view.results.trials)
    if (trial.chosen && !std::isfinite(trial.nll))
      text.push_back(fmt::format("{}: every trial of a learning rate diverged, so that its other runs were left out.",
                                 view.model_of(trial.run).name()));
  std::string at_an_end;
  for (const GridResults::Trial& trial : view.results.trials)
    if (trial.chosen && !trial.inside && std::isfinite(trial.nll))
      at_an_end +=
          fmt::format("{}{} ({})", at_an_end.empty() ? "" : ", ", view.model_of(trial.run).name(), trial.run.lr);
  if (!at_an_end.empty())
    text.push_back(
        fmt::format("The best learning rate is the last that was tried, so that a better one may lie beyond it, of {}.",
                    at_an_end));
  if (view.results.speeds.disturbed())
    text.push_back(fmt::format(
        "Speeds were measured while other programs ran (load {:.1f}): seconds are not those of an idle machine.",
        view.results.speeds.load));
}

}  // namespace

ReportSection answer(const GridView& view) {
  ReportSection section{.title = "What came out", .text = {}, .table = {}, .lines = {}, .charts = {}};
  section.text.push_back(fmt::format(
      "Asked: how many times less training compute, time and memory does each family need than {0} to reach the same "
      "loss? The factor is the cost of {0} over that of the family: 2 means half the cost, below 1 the family costs "
      "more. In brackets stand 95 % intervals; \"open\" is one that goes beyond what {0} reached. Quoted are the "
      "largest runs whose loss {0} reached, too.",
      view.baseline()));
  if (view.unfinished > 0) section.text.push_back(so_far(view));
  for (const char* mean : {kMeanIn, kMeanOut}) {
    if (std::find(view.texts.names.begin(), view.texts.names.end(), mean) == view.texts.names.end()) continue;
    for (size_t f = 1; f < view.families.size(); ++f)
      if (std::string line = sentence(view, view.families[f], mean); !line.empty())
        section.text.push_back(std::move(line));
    for (std::string& line : without_factor(view, mean)) section.text.push_back(std::move(line));
  }
  if (view.families.size() == 1) section.text.push_back("There is one family: nothing to compare it with.");
  section.text.push_back(
      "Artetxe et al. (2021) found 8 to 16 times in domain at the small end, about 4 times at modest budgets, and 2 "
      "to 4 times out of domain, with 512 experts and models from 125M active parameters.");
  section.table = quoted_factors(view.results, view.factors);
  return section;
}

ReportSection how_sure(const GridView& view) {
  ReportSection section{.title = "How sure", .text = {}, .table = {}, .lines = {}, .charts = {}};
  section.text.push_back(
      fmt::format("Intervals hold 95 % of {} replicates: other documents of each domain, and other seeds where a "
                  "family has points with {} seeds and more. They do not hold other learning rates, data or recipes.",
                  kReplicates, kSeedsForResiduals));
  say_spread_of_seeds(view, section.text);
  say_missing_replicates(view, section.text);
  say_what_went_wrong(view, section.text);
  return section;
}

}  // namespace troupe::grid_sections
