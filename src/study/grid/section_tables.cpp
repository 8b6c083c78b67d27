#include <fmt/format.h>

#include <cmath>
#include <map>

#include "base/quantity.h"
#include "eval/statistics.h"
#include "io/provenance.h"
#include "study/grid/grid_sections.h"

namespace troupe::grid_sections {
ReportSection other_costs(const GridView& view) {
  ReportSection section{
      .title = "Factors in seconds and in memory", .text = {}, .table = {}, .lines = {}, .charts = {}};
  section.table = {{"family", "text", "FLOPs", "seconds", "memory"}};
  for (const std::string& family : view.others())
    for (size_t text = view.results.texts.size(); text < view.texts.names.size(); ++text) {
      std::vector<std::string> row = {family, view.spoken(view.texts.names[text])};
      for (const char* measure : {"train_flops", "seconds", "memory_bytes"})
        row.push_back(factor_text(view.factors.quoted(family, view.texts.names[text], measure)));
      section.table.push_back(row);
    }
  if (section.table.size() > 1)
    section.text = {
        "Seconds are tokens over the speed that was measured once for every family and size; memory is that "
        "of training. Each measure has frontiers of its own, so the runs quoted may differ."};
  return section;
}

// How the number, width and place of experts count: families that have runs of one size and budget.
ReportSection side_by_side(const GridView& view) {
  ReportSection section{.title = "Families side by side", .text = {}, .table = {}, .lines = {}, .charts = {}};
  section.table = {{"size and tokens", "family", "experts", "top-k", "MoE layers", "expert width", "FLOPs"}};
  for (size_t t = view.results.texts.size(); t < view.texts.names.size(); ++t)
    section.table.front().push_back(view.texts.held_out[t] ? "out of domain" : "in domain");
  std::map<std::string, std::vector<const MeanPoint*>> groups;
  for (const MeanPoint& mean : view.points)
    groups[fmt::format("{}, {}", view.model_of(mean).size,
                       short_number(static_cast<double>(view.point_of(mean).budget)))]
        .push_back(&mean);
  for (const auto& [group, points] : groups) {
    if (points.size() < 2) continue;
    for (const MeanPoint* mean : points) {
      const ModelConfig& model = view.model_of(*mean).config.model;
      const bool moe = model.num_moe_layers() > 0;
      const auto of_moe = [&](int64_t value) { return moe ? std::to_string(value) : std::string("–"); };
      section.table.push_back(
          {group, view.model_of(*mean).family, of_moe(model.moe.num_experts), of_moe(model.moe.top_k),
           moe ? fmt::format("{} of {}", model.num_moe_layers(), model.num_layers) : "–", of_moe(model.expert_d_ff()),
           short_flops(view.results.grid.train_flops(view.point_of(*mean)))});
      for (size_t t = view.results.texts.size(); t < view.texts.names.size(); ++t)
        section.table.back().push_back(number_text(mean->nll[t], 4));
    }
  }
  if (section.table.size() > 1)
    section.text = {
        "Losses in nats per token at one size and number of tokens, seeds averaged: what more, finer and more "
        "frequent experts change. FLOPs differ by the second expert of a token and by the router."};
  return section;
}

ReportSection fixed_tokens(const GridView& view) {
  ReportSection section{
      .title = "Factors at a fixed number of tokens", .text = {}, .table = {}, .lines = {}, .charts = {}};
  section.table = {{"family", "run", "text", "nats per token", "factor"}};
  for (const FactorRow& row : view.factors.rows)
    if (row.form == "fixed_tokens" && row.measure == "train_flops" && (row.domain == kMeanIn || row.domain == kMeanOut))
      section.table.push_back(
          {row.family, row.family_below, view.spoken(row.domain), number_text(row.target, 4), factor_text(&row)});
  if (section.table.size() > 1)
    section.text = {
        "The form of Artetxe et al. (2021): sizes at one number of tokens, joined; by FLOPs. It leaves out that a "
        "family may reach a loss cheaper with another number of tokens."};
  return section;
}

ReportSection models(const GridView& view) {
  ReportSection section{.title = "Models", .text = {}, .table = {}, .lines = {}, .charts = {}};
  section.table = {{"family/size", "layers", "width", "experts", "parameters", "active", "FLOPs a token", "tokens/s",
                    "memory", "learning rate"}};
  for (size_t m = 0; m < view.results.grid.models.size(); ++m) {
    const GridModel& model = view.results.grid.models[m];
    std::string rate = number_text(kNan, 0);
    for (const FinishedRun& run : view.results.finals)
      if (view.results.grid.points[run.run.point].model == m) rate = fmt::format("{}", run.run.lr);
    const double speed = view.results.speeds.of(model);
    section.table.push_back(
        {model.name(), std::to_string(model.config.model.num_layers), std::to_string(model.config.model.d_model),
         model.config.model.num_moe_layers() > 0 ? std::to_string(model.config.model.moe.num_experts) : "0",
         short_number(static_cast<double>(model.params())), short_number(static_cast<double>(model.active_params())),
         short_number(model.flops_per_token()), short_number(speed),
         short_bytes(static_cast<double>(model.memory_bytes())), rate});
  }
  const GridModel& first = view.results.grid.models.front();
  section.text = {fmt::format("The same for all: context {}, vocabulary {}, {} tokens an update, data and their order.",
                              first.config.model.context, first.config.model.vocab_size, first.update_tokens())};
  return section;
}

ReportSection all_losses(const GridView& view) {
  ReportSection section{.title = "All points", .text = {}, .table = {}, .lines = {}, .charts = {}};
  std::vector<std::string> header = {"point", "seeds", "epochs", "FLOPs"};
  for (const std::string& text : view.texts.names) header.push_back(text);
  section.table = {header};
  for (const MeanPoint& mean : view.points) {
    std::vector<std::string> row = {view.results.grid.name(view.point_of(mean)), std::to_string(mean.seeds),
                                    number_text(view.results.epochs[mean.point], 2),
                                    short_flops(view.results.grid.train_flops(view.point_of(mean)))};
    for (const double nll : mean.nll) row.push_back(number_text(nll, 4));
    section.table.push_back(row);
  }
  if (section.table.size() > 1) section.text = {"Nats per token, seeds averaged."};
  return section;
}

ReportSection fits(const GridView& view) {
  ReportSection section{.title = "Power laws", .text = {}, .table = {}, .lines = {}, .charts = {}};
  section.table = {{"family", "text", "points", "exponent", "residual, nats", "largest"}};
  for (const FitRow& fit : view.factors.fits)
    if (fit.domain == kMeanIn || fit.domain == kMeanOut)
      section.table.push_back({fit.family, view.spoken(fit.domain), std::to_string(fit.points),
                               number_text(fit.exponent, 4), number_text(fit.residual, 4), number_text(fit.worst, 4)});
  if (section.table.size() > 1)
    section.text = {
        "nll = coefficient x FLOPs ^ exponent through each frontier, by least squares in logarithms. It "
        "describes what was measured; no factor uses it."};
  return section;
}

ReportSection rates(const GridView& view) {
  ReportSection section{.title = "Learning rates", .text = {}, .table = {}, .lines = {}, .charts = {}};
  section.table = {{"family/size", "rate", "validation, nats", ""}};
  for (const GridResults::Trial& trial : view.results.trials)
    section.table.push_back(
        {view.model_of(trial.run).name(), fmt::format("{}", trial.run.lr),
         std::isfinite(trial.nll) ? number_text(trial.nll, 4) : "diverged",
         trial.chosen && std::isfinite(trial.nll) ? (trial.inside ? "chosen" : "chosen, at an end") : ""});
  if (section.table.size() > 1)
    section.text = {"As many trials for every family and size, at the smallest budget, by factors of 2."};
  return section;
}

ReportSection made_by(const GridView& view) {
  ReportSection section{.title = "Made by", .text = {}, .table = {}, .lines = {}, .charts = {}};
  std::map<std::string, int64_t> counts;
  for (const FinishedRun& run : view.results.finals) {
    nlohmann::json by = run.record.provenance;
    by.erase("date");
    ++counts[describe_provenance(by)];
  }
  for (const auto& [by, count] : counts) section.text.push_back(fmt::format("{}: {}.", counted(count, "run"), by));
  section.text.push_back(
      "Data beside this report: points.csv, trials.csv, documents.csv.zst, factors.csv, fits.csv, "
      "runs.csv (time and energy), routers.csv" +
      std::string(view.results.tasks.empty() ? "." : ", tasks.csv, task_items.csv.zst, factors_tasks.csv."));
  return section;
}

}  // namespace troupe::grid_sections
