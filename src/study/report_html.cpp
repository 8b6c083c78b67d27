#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "study/chart.h"
#include "study/report.h"

namespace troupe {
namespace {

constexpr const char* kStyle = R"css(
:root { color-scheme: light dark; --text: #1d2125; --soft: #626a73; --line: #d9dde1; --page: #fdfdfc; --tile: #f3f4f5; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e4e6e9; --soft: #9aa3ad; --line: #3a4047; --page: #15181b; --tile: #1e2226; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.5rem 1.25rem 4rem; max-width: 74rem; background: var(--page); color: var(--text);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", "Noto Sans", sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .5rem; letter-spacing: -.01em; }
h2 { font-size: 1.2rem; margin: 2.75rem 0 .75rem; padding-top: .9rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
p { margin: .4rem 0; max-width: 48rem; }
.soft, figcaption, caption { color: var(--soft); font-size: .875rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .925rem; }
th, td { padding: .32rem .8rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
thead th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
tbody th { font-weight: 500; }
tr.group th { padding-top: 1rem; color: var(--soft); font-weight: 600; font-size: .8rem; text-transform: uppercase;
  letter-spacing: .05em; }
td.best { font-weight: 650; }
.better { color: #2f8f4e; } .worse { color: #c8504f; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); gap: 1rem 1.5rem; }
figure { margin: 0; }
figure svg { width: 100%; height: auto; display: block; }
figure svg text { font-family: inherit; }
figure svg .gridline { stroke: var(--line); }
figcaption b { color: var(--text); font-weight: 600; }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin: .25rem 0 .75rem; font-size: .9rem; }
.legend i { display: inline-block; width: 1.4em; height: 3px; border-radius: 2px; margin-right: .45em;
  vertical-align: middle; }
table.heat { border-spacing: 2px; border-collapse: separate; width: 100%; table-layout: fixed; }
table.heat th:first-child { width: 11rem; padding: 0 .6rem 0 0; overflow: hidden; text-overflow: ellipsis; }
table.heat th, table.heat td { border: 0; padding: .25rem 0; text-align: center; font-size: .78rem; font-weight: 400; }
table.heat.dense { border-spacing: 0 2px; } table.heat.dense td { padding: .6rem 0; }
table.heat td { border-radius: 3px; } table.heat.dense td { border-radius: 0; }
.samples { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(22rem, 100%), 1fr)); gap: 1rem; }
blockquote { margin: 0; padding: .8rem 1rem; background: var(--tile); border-radius: 8px; white-space: pre-wrap;
  overflow-wrap: anywhere; font-size: .925rem; }
blockquote cite { display: block; font-style: normal; color: var(--soft); font-size: .8rem; margin-bottom: .3rem; }
details { margin: .4rem 0; } summary { cursor: pointer; }
pre { background: var(--tile); border-radius: 8px; padding: .8rem 1rem; overflow-x: auto; font-size: .82rem; }
@media print { body { max-width: none; padding: 0; } h2 { break-after: avoid; } figure, table { break-inside: avoid; } }
)css";

// Text as HTML; bytes that are not UTF-8 and control characters become U+FFFD.
std::string escaped(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const size_t length = byte < 0x80 ? 1 : byte < 0xc2 ? 0 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : byte < 0xf5 ? 4 : 0;
    bool valid =
        length > 0 && i + length <= text.size() && (byte >= 0x20 || byte == '\n' || byte == '\t') && byte != 0x7f;
    for (size_t k = 1; valid && k < length; ++k) valid = (static_cast<unsigned char>(text[i + k]) & 0xc0) == 0x80;
    if (!valid) {
      out += "\xef\xbf\xbd";
      ++i;
      continue;
    }
    switch (byte) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += text.substr(i, length);
    }
    i += length;
  }
  return out;
}

std::string number(double value, int decimals) {
  return std::isfinite(value) ? fmt::format("{:.{}f}", value, decimals) : "–";
}

// 1.23M, 45.6B.
std::string scaled(double value) {
  constexpr const char* kUnits[] = {"", "k", "M", "B", "T"};
  size_t unit = 0;
  while (unit + 1 < std::size(kUnits) && std::abs(value) >= 999.5) value /= 1e3, ++unit;
  return fmt::format("{:.{}f}{}", value, unit == 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2, kUnits[unit]);
}

std::string flops_text(double flops) {
  constexpr const char* kUnits[] = {"", "k", "M", "G", "T", "P", "E", "Z"};
  size_t unit = 0;
  while (unit + 1 < std::size(kUnits) && flops >= 999.5) flops /= 1e3, ++unit;
  return fmt::format("{:.{}f} {}FLOPs", flops, flops >= 99.95 ? 0 : flops >= 9.995 ? 1 : 2, kUnits[unit]);
}

std::string duration(double seconds) {
  if (!std::isfinite(seconds)) return "–";
  const auto s = static_cast<int64_t>(std::llround(seconds));
  if (s < 120) return fmt::format("{} s", s);
  if (s < 7200) return fmt::format("{} min {:02} s", s / 60, s % 60);
  return fmt::format("{} h {:02} min", s / 3600, s / 60 % 60);
}

std::string percent(double share, int decimals = 1) {
  return std::isfinite(share) ? fmt::format("{:.{}f} %", 100 * share, decimals) : "–";
}

bool is_moe(const ReportRun& run) { return !run.load.empty() || run.params != run.active_params; }

std::string models_table(const Report& report) {
  std::string rows;
  for (const ReportRun& run : report.runs) {
    const double last = run.metrics.train.empty() ? NAN : run.metrics.train.back().loss;
    rows += fmt::format(
        "<tr><th>{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></"
        "tr>\n",
        escaped(run.name), scaled(static_cast<double>(run.params)), scaled(static_cast<double>(run.active_params)),
        flops_text(run.flops_per_token), scaled(run.tokens), flops_text(run.flops_per_token * run.tokens),
        duration(run.seconds), run.seconds > 0 ? scaled(run.tokens / run.seconds) : "–", number(last, 4));
  }
  return "<div class=\"scroll\"><table><thead><tr><th>model</th><th>parameters</th><th>active</th><th>per token</th>"
         "<th>tokens</th><th>training</th><th>time</th><th>tokens/s</th><th>training loss</th></tr></thead><tbody>\n" +
         rows +
         "</tbody></table></div>\n<p class=\"soft\">Active: parameters that one token passes through. FLOPs of "
         "training, forward and backward, nothing recomputed; time in training steps alone.</p>\n";
}

const ReportDomain* find_domain(const ReportRun& run, const std::string& name) {
  const auto found = std::find_if(run.domains.begin(), run.domains.end(),
                                  [&](const ReportDomain& domain) { return domain.name == name; });
  return found == run.domains.end() ? nullptr : &*found;
}

// Every domain of any run, trained-on ones first.
std::vector<ReportDomain> all_domains(const Report& report) {
  std::vector<ReportDomain> domains;
  for (const bool held_out : {false, true})
    for (const ReportRun& run : report.runs)
      for (const ReportDomain& domain : run.domains)
        if (domain.held_out == held_out && std::none_of(domains.begin(), domains.end(), [&](const ReportDomain& known) {
              return known.name == domain.name;
            }))
          domains.push_back(domain);
  return domains;
}

std::string difference_cell(const Report& report, const ReportRun& run, const std::string& domain) {
  for (const ReportComparison& c : report.comparisons) {
    if (c.model != run.name || c.domain != domain) continue;
    const bool real = c.difference.is_real();
    const char* kind = !real ? "" : c.difference.difference < 0 ? "better" : "worse";
    return fmt::format("<td class=\"{}\">{:+.4f} ± {}{}</td>", kind, c.difference.difference,
                       number(2 * c.difference.standard_error, 4), real ? "" : " (not real)");
  }
  return "<td>–</td>";
}

std::string domains_table(const Report& report) {
  const std::vector<ReportDomain> domains = all_domains(report);
  if (domains.empty()) return {};
  const auto has_comparison = [&](const ReportRun& run) {
    return std::any_of(report.comparisons.begin(), report.comparisons.end(),
                       [&](const ReportComparison& c) { return c.model == run.name; });
  };
  const bool drops = std::any_of(report.runs.begin(), report.runs.end(), is_moe);
  std::string head = "<tr><th>text</th>", rows;
  size_t columns = 1;
  for (const ReportRun& run : report.runs) {
    const std::string name = escaped(run.name);
    head += fmt::format("<th>{}<br>perplexity</th><th>{}<br>bits/byte</th>", name, name);
    columns += 2;
    if (is_moe(run)) head += fmt::format("<th>{}<br>dropped</th>", name), ++columns;
    if (has_comparison(run)) head += fmt::format("<th>{}<br>Δ nats per token</th>", name), ++columns;
  }
  int group = -1;
  for (const ReportDomain& domain : domains) {
    if (group != domain.held_out) {
      group = domain.held_out;
      rows += fmt::format("<tr class=\"group\"><th colspan=\"{}\">{}</th></tr>\n", columns,
                          domain.held_out ? "held out" : "in domain");
    }
    double best = INFINITY;
    for (const ReportRun& run : report.runs)
      if (const ReportDomain* own = find_domain(run, domain.name)) best = std::min(best, own->nll);
    rows += fmt::format("<tr><th>{}</th>", escaped(domain.name));
    for (const ReportRun& run : report.runs) {
      const ReportDomain* own = find_domain(run, domain.name);
      rows += fmt::format("<td class=\"{}\">{}</td><td>{}</td>", own && own->nll == best ? "best" : "",
                          own ? number(own->perplexity(), 2) : "–", own ? number(own->bits_per_byte, 4) : "–");
      if (is_moe(run)) rows += fmt::format("<td>{}</td>", own ? percent(own->drop_rate) : "–");
      if (has_comparison(run)) rows += difference_cell(report, run, domain.name);
    }
    rows += "</tr>\n";
  }
  std::string out = "<h2>Perplexity</h2>\n<div class=\"scroll\"><table><thead>" + head + "</tr></thead><tbody>\n" +
                    rows + "</tbody></table></div>\n<p class=\"soft\">Bold: the lower perplexity.";
  if (drops) out += " Dropped: share of expert choices lost to a full expert.";
  if (!report.comparisons.empty())
    out += fmt::format(
        " Δ: difference to {} over the same documents, ± two standard errors with documents as units; below 0 is "
        "better, "
        "and a difference inside its error is not real.",
        escaped(report.comparisons.front().baseline));
  return out + "</p>\n";
}

// Charts are collected first and drawn by one gnuplot.
struct Figures {
  std::vector<Chart> charts;
  std::vector<std::string> captions;  // HTML
  size_t begin_of_group = 0;

  void add(Chart chart, std::string caption) {
    charts.push_back(std::move(chart));
    captions.push_back(std::move(caption));
  }
};

std::string grid(const Figures& figures, const std::vector<std::string>& svg, size_t begin, size_t end) {
  std::string out = "<div class=\"charts\">\n";
  for (size_t i = begin; i < end; ++i)
    out += "<figure>" + svg[i] + "<figcaption>" + figures.captions[i] + "</figcaption></figure>\n";
  return out + "</div>\n";
}

std::string legend(const std::vector<std::string>& names) {
  std::string out = "<div class=\"legend\">";
  for (size_t i = 0; i < names.size(); ++i)
    out += fmt::format("<span><i style=\"background:{}\"></i>{}</span>", palette(i), escaped(names[i]));
  return out + "</div>\n";
}

std::string legend(const Report& report) {
  std::vector<std::string> names;
  for (const ReportRun& run : report.runs) names.push_back(run.name);
  return legend(names);
}

double flops_unit(const Report& report) {
  double most = 0;
  for (const ReportRun& run : report.runs) most = std::max(most, run.flops_per_token * run.tokens);
  return most >= 1e18 ? 1e18 : most >= 1e15 ? 1e15 : 1e12;
}

const char* flops_label(double unit) {
  return unit == 1e18 ? "training EFLOPs" : unit == 1e15 ? "training PFLOPs" : "training TFLOPs";
}

// One chart of a value of every training line, a series a run.
Chart train_chart(const Report& report, const std::string& y_label,
                  const std::function<double(const TrainPoint&)>& value, bool over_flops = false) {
  const double unit = flops_unit(report);
  Chart chart{
      .x_label = over_flops ? flops_label(unit) : "training tokens (millions)", .y_label = y_label, .series = {}};
  for (size_t r = 0; r < report.runs.size(); ++r) {
    const ReportRun& run = report.runs[r];
    Series series{.x = {}, .y = {}, .color = r};
    for (const TrainPoint& point : run.metrics.train) {
      series.x.push_back(over_flops ? point.tokens * run.flops_per_token / unit : point.tokens / 1e6);
      series.y.push_back(value(point));
    }
    chart.series.push_back(std::move(series));
  }
  return chart;
}

// Nats per token of one validation set, or of the mean over all ("").
Chart valid_chart(const Report& report, const std::string& data, bool over_flops) {
  const double unit = flops_unit(report);
  Chart chart{.x_label = over_flops ? flops_label(unit) : "training tokens (millions)",
              .y_label = "nats per token",
              .series = {}};
  for (size_t r = 0; r < report.runs.size(); ++r) {
    const ReportRun& run = report.runs[r];
    Series series{.x = {}, .y = {}, .color = r};
    for (size_t i = 0; i < run.metrics.valid.size();) {
      const int64_t step = run.metrics.valid[i].step;
      double sum = 0;
      int64_t sets = 0;
      for (; i < run.metrics.valid.size() && run.metrics.valid[i].step == step; ++i)
        if (data.empty() || run.metrics.valid[i].data == data) sum += run.metrics.valid[i].nll, ++sets;
      if (sets == 0) continue;
      const double tokens = run.metrics.tokens_at(step);
      series.x.push_back(over_flops ? tokens * run.flops_per_token / unit : tokens / 1e6);
      series.y.push_back(sum / static_cast<double>(sets));
    }
    chart.series.push_back(std::move(series));
  }
  return chart;
}

std::vector<std::string> validation_sets(const Report& report) {
  std::vector<std::string> names;
  for (const ReportRun& run : report.runs)
    for (const ValidPoint& point : run.metrics.valid)
      if (std::find(names.begin(), names.end(), point.data) == names.end()) names.push_back(point.data);
  return names;
}

// Statistics of the routers of one run, a series a MoE layer.
Chart router_chart(const ReportRun& run, const std::string& y_label,
                   const std::function<double(const RouterPoint&)>& value) {
  Chart chart{.x_label = "training tokens (millions)", .y_label = y_label, .series = {}, .from_zero = true};
  const size_t layers = run.metrics.train.front().routers.size();
  for (size_t layer = 0; layer < layers; ++layer) {
    Series series{.x = {}, .y = {}, .color = layer};
    for (const TrainPoint& point : run.metrics.train) {
      series.x.push_back(point.tokens / 1e6);
      series.y.push_back(layer < point.routers.size() ? value(point.routers[layer]) : NAN);
    }
    chart.series.push_back(std::move(series));
  }
  return chart;
}

bool has_routers(const ReportRun& run) {
  return !run.metrics.train.empty() && !run.metrics.train.front().routers.empty();
}

std::string charts_html(const Report& report, const std::string& gnuplot) {
  Figures figures;
  std::vector<std::pair<std::string, size_t>> sections;  // HTML before the charts from this index on
  const auto section = [&](const std::string& html) { sections.emplace_back(html, figures.charts.size()); };

  section("<h2>Loss</h2>\n" + legend(report));
  for (const bool over_flops : {false, true}) {
    Chart chart = train_chart(
        report, "nats per token", [](const TrainPoint& p) { return p.loss; }, over_flops);
    chart.clip_start = true;
    figures.add(std::move(chart), fmt::format("<b>Training loss</b> over {}. The first twentieth lies above the frame.",
                                              over_flops ? "compute" : "tokens"));
  }
  const std::vector<std::string> sets = validation_sets(report);
  if (!sets.empty()) {
    for (const bool over_flops : {false, true}) {
      Chart chart = valid_chart(report, "", over_flops);
      chart.clip_start = true;
      figures.add(std::move(chart),
                  fmt::format("<b>Validation loss</b> over {}: mean of {} set{}.", over_flops ? "compute" : "tokens",
                              sets.size(), sets.size() == 1 ? "" : "s"));
    }
    if (sets.size() > 1) {
      section("<h3>Validation by domain</h3>\n" + legend(report));
      for (const std::string& name : sets) {
        Chart chart = valid_chart(report, name, false);
        chart.clip_start = true;
        figures.add(std::move(chart), "<b>" + escaped(name) + "</b>");
      }
    }
  }
  section("<h2>Training</h2>\n" + legend(report));
  figures.add(train_chart(report, "rate", [](const TrainPoint& p) { return p.lr; }), "<b>Learning rate</b>");
  figures.add(train_chart(report, "norm", [](const TrainPoint& p) { return p.grad_norm; }), "<b>Gradient norm</b>");
  Chart speed = train_chart(report, "thousands per second", [](const TrainPoint& p) { return p.tokens_per_s / 1e3; });
  speed.from_zero = true;
  figures.add(std::move(speed), "<b>Tokens per second</b>");
  for (const ReportRun& run : report.runs) {
    if (!has_routers(run)) continue;
    std::vector<std::string> layers;
    for (const RouterPoint& router : run.metrics.train.front().routers)
      layers.push_back(fmt::format("layer {}", router.layer));
    section(fmt::format("<h2>Routing: {}</h2>\n", escaped(run.name)) + legend(layers));
    const double experts = static_cast<double>(run.metrics.train.front().routers.front().load_E.size());
    figures.add(router_chart(run, "nats", [](const RouterPoint& p) { return p.entropy; }),
                fmt::format("<b>Entropy</b> of the router's probabilities; uniform over {:.0f} experts is {:.2f}.",
                            experts, std::log(experts)));
    figures.add(router_chart(run, "experts", [](const RouterPoint& p) { return p.unused_experts; }),
                "<b>Experts without a token</b> in a logging interval.");
    figures.add(router_chart(run, "percent of choices", [](const RouterPoint& p) { return 100 * p.top20; }),
                "<b>Share of the busiest fifth</b> of the experts; balanced is about 20 %.");
    figures.add(router_chart(run, "percent of choices",
                             [](const RouterPoint& p) { return 100 * std::max(p.overflow1, p.overflow2); }),
                "<b>Choices dropped</b>, the worse of first and second choices.");
  }
  const DrawnCharts drawn = draw_charts(figures.charts, gnuplot);
  if (!drawn.svg)
    return "<h2>Loss</h2>\n<p>No charts: " + escaped(drawn.reason) +
           ". The figures are in metrics.jsonl of each run.</p>\n";
  std::string out;
  for (size_t s = 0; s < sections.size(); ++s) {
    const size_t end = s + 1 < sections.size() ? sections[s + 1].second : figures.charts.size();
    out += sections[s].first + grid(figures, *drawn.svg, sections[s].second, end);
  }
  return out;
}

std::string heat_map(const ReportLoad& load) {
  const size_t experts = load.share_NE.empty() ? 0 : load.share_NE.front().size();
  double most = 0;
  for (const std::vector<double>& shares : load.share_NE)
    for (const double share : shares) most = std::max(most, share);
  const bool dense = experts > 32;
  std::string out = fmt::format("<h3>Layer {}</h3>\n<div class=\"scroll\"><table class=\"heat{}\">", load.layer,
                                dense ? " dense" : "");
  if (!dense) {
    out += "<thead><tr><th></th>";
    for (size_t e = 0; e < experts; ++e) out += fmt::format("<th>{}</th>", e);
    out += "</tr></thead>";
  }
  out += "<tbody>\n";
  for (size_t n = 0; n < load.share_NE.size(); ++n) {
    out += fmt::format("<tr><th>{}</th>", escaped(load.domains[n]));
    for (size_t e = 0; e < experts; ++e) {
      const double share = load.share_NE[n][e];
      out += fmt::format("<td title=\"expert {}: {:.2f} %\" style=\"background:rgb(59 130 196 / {:.2f})\">{}</td>", e,
                         100 * share, most > 0 ? 0.9 * share / most : 0.0,
                         dense ? "" : fmt::format("{:.0f}", 100 * share));
    }
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>\n";
}

std::string load_html(const Report& report) {
  std::string out;
  for (const ReportRun& run : report.runs) {
    if (run.load.empty()) continue;
    const size_t experts = run.load.front().share_NE.empty() ? 0 : run.load.front().share_NE.front().size();
    out += fmt::format(
        "<h2>Expert load by domain: {}</h2>\n<p class=\"soft\">Percent of a domain's choices that go to each of {} "
        "experts; even use is {:.2f} %. Darker is more.</p>\n",
        escaped(run.name), experts, experts ? 100.0 / static_cast<double>(experts) : 0.0);
    for (const ReportLoad& load : run.load) out += heat_map(load);
  }
  return out;
}

std::string samples_html(const Report& report) {
  std::string out;
  for (const ReportRun& run : report.runs)
    for (const ReportSample& sample : run.samples)
      out += fmt::format("<blockquote><cite>{}</cite><b>{}</b>{}</blockquote>\n", escaped(run.name),
                         escaped(sample.prompt), escaped(sample.text));
  return out.empty() ? out : "<h2>Samples</h2>\n<div class=\"samples\">\n" + out + "</div>\n";
}

std::string configs_html(const Report& report) {
  std::string out;
  for (const ReportRun& run : report.runs)
    if (!run.config.empty())
      out += fmt::format("<details><summary>{}</summary><pre>{}</pre></details>\n", escaped(run.name),
                         escaped(run.config));
  return out.empty() ? out : "<h2>Configuration</h2>\n" + out;
}

}  // namespace

std::string to_html(const Report& report, const std::string& gnuplot) {
  std::string out =
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>" +
      escaped(report.title) + "</title>\n<style>" + kStyle + "</style>\n</head>\n<body>\n<h1>" + escaped(report.title) +
      "</h1>\n";
  for (const std::string& note : report.notes) out += "<p>" + escaped(note) + "</p>\n";
  out += "<h2>Models</h2>\n" + models_table(report);
  out += domains_table(report);
  out += charts_html(report, gnuplot);
  out += load_html(report);
  out += samples_html(report);
  out += configs_html(report);
  return out + "</body>\n</html>\n";
}

}  // namespace troupe
