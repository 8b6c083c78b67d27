#include "study/study_report.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "base/quantity.h"
#include "io/json_fields.h"
#include "model/language_model.h"

namespace troupe {
namespace {

using Json = nlohmann::ordered_json;

// The lines of `troupe study --json` and of summary.json.
struct PointLine {
  std::string model;
  int64_t seed = 0, params = 0, params_active = 0;
  double flops_per_token = 0;
  int64_t train_tokens = 0;
  double train_flops = 0, time_s = 0, tokens_per_s = 0;
  DomainResult domain;
  double ppl = 0;

  template <class V>
  void fields(V& v) {
    v.constant("schema", "troupe.study.point/1");
    v("model", model), v("seed", seed), v("params", params), v("params_active", params_active);
    v("flops_per_token", flops_per_token), v("train_tokens", train_tokens), v("train_flops", train_flops);
    v("time_s", time_s), v("tokens_per_s", tokens_per_s), v("data", domain.name), v("in_domain", domain.in_domain);
    v("held_out", domain.held_out), v("tokens", domain.tokens), v("bytes", domain.bytes), v("nll", domain.nll);
    v("stderr", domain.standard_error), v("ppl", ppl), v("bits_per_byte", domain.bits_per_byte);
    v("drop_rate", domain.drop_rate);
  }
};

struct SeedsLine {
  std::string model, baseline, data;
  bool held_out = false;
  std::vector<int64_t> seeds;
  double mean_nll = 0, deviation_nll = 0;
  std::vector<double> differences;  // a seed each; none of the baseline
  double mean = 0, deviation = 0, half_interval = 0;

  template <class V>
  void fields(V& v) {
    v.constant("schema", "troupe.study.seeds/1");
    v("model", model), v("baseline", baseline), v("data", data), v("held_out", held_out), v("seeds", seeds);
    v("nll", mean_nll), v("nll_deviation", deviation_nll), v("differences", differences), v("difference", mean);
    v("deviation", deviation), v("half_interval", half_interval);
  }
};

std::string summary_over_seeds(const std::vector<SeedResult>& results, const std::string& model, size_t seeds) {
  int64_t lower = 0, pairs = 0, texts = 0, better = 0, worse = 0;
  for (const SeedResult& result : results) {
    if (result.model != model) continue;
    ++texts;
    const std::vector<double>& values = result.difference.values;
    lower += std::count_if(values.begin(), values.end(), [](double value) { return value < 0; });
    pairs += static_cast<int64_t>(values.size());
    const Verdict verdict = result.difference.verdict();
    better += verdict == Verdict::kBetter, worse += verdict == Verdict::kWorse;
  }
  return fmt::format(
      "{} against {} over {}: lower in {} of {} of trainings; by the mean and its 95 % interval over seeds "
      "better on {} of {} of text, worse on {}, undecided on {}.",
      model, results.front().baseline, counted(static_cast<int64_t>(seeds), "seed"), lower, counted(pairs, "pair"),
      better, counted(texts, "set"), worse, texts - better - worse);
}

}  // namespace

TextTable study_table(const StudyResult& result) {
  const std::vector<ModelResult>& models = result.models();
  TextTable table(1, {""});
  for (const ModelResult& model : models) table[0].push_back(model.name);
  const auto row = [&](const std::string& name, const auto& cell) {
    std::vector<std::string>& cells = table.emplace_back(1, name);
    for (const ModelResult& model : models) cells.push_back(cell(model));
  };
  row("parameters", [](const ModelResult& m) { return short_number(static_cast<double>(m.params)); });
  row("active parameters", [](const ModelResult& m) { return short_number(static_cast<double>(m.active_params)); });
  row("per token", [](const ModelResult& m) { return short_flops(m.flops_per_token); });
  row("training tokens", [](const ModelResult& m) { return short_number(static_cast<double>(m.tokens)); });
  row("training", [](const ModelResult& m) { return short_flops(m.train_flops()); });
  row("training time",
      [](const ModelResult& m) { return short_duration(m.seconds) + (m.disturbance().intervals ? " *" : ""); });
  row("tokens/s", [](const ModelResult& m) {
    return short_number(m.tokens_per_second()) + (m.disturbance().intervals ? " *" : "");
  });
  const auto per_domain = [&](const std::string& what, const auto& value) {
    for (const DomainResult& domain : all_domains(models))
      row(what + ": " + domain.label(), [&](const ModelResult& m) {
        const DomainResult* own = m.find(domain);
        return own ? value(*own) : number_text(kNan, 0);
      });
  };
  per_domain("perplexity", [](const DomainResult& d) { return number_text(d.perplexity(), 2); });
  per_domain("bits per byte", [](const DomainResult& d) { return number_text(d.bits_per_byte, 4); });
  row("choices dropped", [](const ModelResult& m) {
    double dropped = 0, tokens = 0;  // every token makes as many choices
    for (const DomainResult& domain : m.domains) {
      dropped += domain.drop_rate * static_cast<double>(domain.tokens);
      tokens += static_cast<double>(domain.tokens);
    }
    return m.is_moe() ? percent_text(dropped / tokens) : number_text(kNan, 0);
  });
  return table;
}

TextTable comparison_table(const std::vector<Comparison>& comparisons) {
  TextTable table = {{"difference in nats per token", "documents", "difference", "verdict"}};
  for (const Comparison& c : comparisons)
    table.push_back({fmt::format("{} - {}: {}", c.model, c.baseline, c.domain.label()),
                     std::to_string(c.difference.documents), paired_text(c.difference),
                     std::string(name_of_enum(c.difference.verdict()))});
  return table;
}

TextTable seeds_table(const StudyResult& result) {
  TextTable table = {{"over " + counted(static_cast<int64_t>(result.by_seed.size()), "seed"), "nats per token",
                      "deviation", "difference"}};
  for (const SeedResult& seeds : spread_over_seeds(result.by_seed))
    table.push_back({fmt::format("{}: {}", seeds.model, seeds.domain.label()), number_text(seeds.nll.mean(), 4),
                     number_text(seeds.nll.deviation(), 4), spread_text(seeds.difference)});
  return table;
}

std::vector<std::string> study_notes(const StudyResult& result) {
  std::vector<std::string> notes;
  const std::vector<SeedResult> seeds = spread_over_seeds(result.by_seed);
  const std::vector<ModelResult>& models = result.models();
  for (size_t m = 1; m < models.size(); ++m) {
    if (const std::string text = summary_of(result.comparisons, models[m].name); !text.empty()) notes.push_back(text);
    if (result.by_seed.size() > 1) notes.push_back(summary_over_seeds(seeds, models[m].name, result.by_seed.size()));
  }
  if (!result.comparisons.empty()) notes.push_back(kPairedNote);
  for (const ModelResult& model : models)
    if (const std::string text = disturbance_text(model); !text.empty()) notes.push_back("* " + text);
  return notes;
}

std::vector<Json> study_lines(const StudyResult& result) {
  std::vector<Json> lines;
  for (const std::vector<ModelResult>& models : result.by_seed)
    for (const ModelResult& model : models)
      for (const DomainResult& domain : model.domains)
        lines.push_back(json_of(PointLine{.model = model.name,
                                          .seed = model.config.train.seed,
                                          .params = model.params,
                                          .params_active = model.active_params,
                                          .flops_per_token = model.flops_per_token,
                                          .train_tokens = model.tokens,
                                          .train_flops = model.train_flops(),
                                          .time_s = model.seconds,
                                          .tokens_per_s = model.tokens_per_second(),
                                          .domain = domain,
                                          .ppl = domain.perplexity()}));
  for (const Comparison& c : result.comparisons)
    lines.push_back(json_of(comparison_line(c, kStudyComparison)));
  if (result.by_seed.size() > 1)
    for (const SeedResult& seeds : spread_over_seeds(result.by_seed))
      lines.push_back(json_of(SeedsLine{.model = seeds.model,
                                        .baseline = seeds.baseline,
                                        .data = seeds.domain.name,
                                        .held_out = seeds.domain.held_out,
                                        .seeds = seeds_of(result.config),
                                        .mean_nll = seeds.nll.mean(),
                                        .deviation_nll = seeds.nll.deviation(),
                                        .differences = seeds.difference.values,
                                        .mean = seeds.difference.mean(),
                                        .deviation = seeds.difference.deviation(),
                                        .half_interval = seeds.difference.half_interval()}));
  return lines;
}

Json study_summary(const StudyResult& result) {
  Json summary = {{"schema", "troupe.study/1"},           {"seed", seeds_of(result.config).front()},
                  {"seeds", seeds_of(result.config)},
                  {"tokens_asked", result.config.tokens}, {"tokens", result.planned_tokens},
                  {"results", study_lines(result)},       {"samples", Json::array()}};
  for (const ModelResult& model : result.models())
    for (const TextSample& sample : model.samples) {
      Json line = {{"model", model.name}};
      line.update(json_of(sample));
      summary["samples"].push_back(line);
    }
  return summary;
}

Report make_report(const StudyResult& result) {
  const StudyConfig& config = result.config;
  const std::vector<int64_t> seeds = seeds_of(config);
  Report report;
  for (const ModelResult& model : result.models()) report.title += (report.title.empty() ? "" : " and ") + model.name;
  report.title += " on the same tokens";
  int64_t trained = 0;  // whole updates: up to one more than was planned
  for (const ModelResult& model : result.models()) trained = std::max(trained, model.tokens);
  report.notes.push_back(fmt::format(
      "{} trained on the same {} tokens in the same order, seed {}{}.",
      counted(static_cast<int64_t>(result.models().size()), "model"), short_number(static_cast<double>(trained)),
      seeds.front(),
      seeds.size() > 1 ? fmt::format(" (others, {}: see Over seeds)", fmt::join(seeds.begin() + 1, seeds.end(), ", "))
                       : ""));
  if (result.planned_tokens < config.tokens)
    report.notes.push_back(fmt::format("{} tokens were asked for; this machine got fewer, to keep within {:g} minutes.",
                                       short_number(static_cast<double>(config.tokens)), config.max_minutes));
  for (const std::string& note : study_notes(result))
    if (note != kPairedNote && !note.starts_with("*")) report.notes.push_back(note);  // which stand below their tables
  report.models = result.models();
  report.comparisons = result.comparisons;
  if (result.by_seed.size() > 1) report.seeds = spread_over_seeds(result.by_seed), report.seed_list = seeds;
  report.scored = config.valid_tokens > 0
                      ? fmt::format("the first {} tokens of each set, cut at a document (study.valid_tokens)",
                                    short_number(static_cast<double>(config.valid_tokens)))
                      : std::string("all of each set");
  report.sampling = fmt::format("temperature {:g}, seed {}, at most {} tokens", config.sample_temperature,
                                seeds.front(), config.sample_tokens);
  return report;
}

}  // namespace troupe
