#include "study/report_tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "study/html.h"

namespace troupe {
namespace {

bool is_moe(const ReportRun& run) { return !run.load.empty() || run.params != run.active_params; }

// A domain may be there twice: its own texts, and held-out ones of the same name.
const ReportDomain* find_domain(const ReportRun& run, const ReportDomain& like) {
  const auto found = std::find_if(run.domains.begin(), run.domains.end(), [&](const ReportDomain& domain) {
    return domain.name == like.name && domain.held_out == like.held_out;
  });
  return found == run.domains.end() ? nullptr : &*found;
}

// Every domain of any run, trained-on ones first.
std::vector<ReportDomain> all_domains(const Report& report) {
  std::vector<ReportDomain> domains;
  for (const bool held_out : {false, true})
    for (const ReportRun& run : report.runs)
      for (const ReportDomain& domain : run.domains)
        if (domain.held_out == held_out && std::none_of(domains.begin(), domains.end(), [&](const ReportDomain& known) {
              return known.name == domain.name && known.held_out == held_out;
            }))
          domains.push_back(domain);
  return domains;
}

std::string difference_cell(const Report& report, const ReportRun& run, const ReportDomain& domain) {
  for (const ReportComparison& c : report.comparisons) {
    if (c.model != run.name || c.domain != domain.name || c.held_out != domain.held_out) continue;
    const bool real = c.difference.is_real();
    const char* kind = !real ? "" : c.difference.difference < 0 ? "better" : "worse";
    return fmt::format("<td class=\"{}\">{:+.4f} ± {}{}</td>", kind, c.difference.difference,
                       html::number(2 * c.difference.standard_error, 4),
                       real                      ? ""
                       : c.difference.is_known() ? " (not real)"
                                                 : " (unknown)");
  }
  return "<td>–</td>";
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
    out += fmt::format("<tr><th>{}</th>", html::escaped(load.domains[n]));
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

}  // namespace

std::string models_table(const Report& report) {
  std::string rows;
  for (const ReportRun& run : report.runs) {
    const double last = run.metrics.train.empty() ? NAN : run.metrics.train.back().loss;
    rows += fmt::format(
        "<tr><th>{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></"
        "tr>\n",
        html::escaped(run.name), html::scaled(static_cast<double>(run.params)),
        html::scaled(static_cast<double>(run.active_params)), html::flops(run.flops_per_token),
        html::scaled(run.tokens), html::flops(run.flops_per_token * run.tokens), html::duration(run.seconds),
        run.seconds > 0 ? html::scaled(run.tokens / run.seconds) : "–", html::number(last, 4));
  }
  return "<div class=\"scroll\"><table><thead><tr><th>model</th><th>parameters</th><th>active</th><th>per token</th>"
         "<th>tokens</th><th>training</th><th>time</th><th>tokens/s</th><th>training loss</th></tr></thead><tbody>\n" +
         rows +
         "</tbody></table></div>\n<p class=\"soft\">Active: parameters that one token passes through. FLOPs of "
         "training, forward and backward, nothing recomputed; time in training steps alone.</p>\n";
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
    const std::string name = html::escaped(run.name);
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
      if (const ReportDomain* own = find_domain(run, domain)) best = std::min(best, own->nll);
    rows += fmt::format("<tr><th>{}</th>", html::escaped(domain.name));
    for (const ReportRun& run : report.runs) {
      const ReportDomain* own = find_domain(run, domain);
      rows +=
          fmt::format("<td class=\"{}\">{}</td><td>{}</td>", own && own->nll == best ? "best" : "",
                      own ? html::number(own->perplexity(), 2) : "–", own ? html::number(own->bits_per_byte, 4) : "–");
      if (is_moe(run)) rows += fmt::format("<td>{}</td>", own ? html::percent(own->drop_rate) : "–");
      if (has_comparison(run)) rows += difference_cell(report, run, domain);
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
        html::escaped(report.comparisons.front().baseline));
  return out + "</p>\n";
}

std::string load_tables(const Report& report) {
  std::string out;
  for (const ReportRun& run : report.runs) {
    if (run.load.empty()) continue;
    const size_t experts = run.load.front().share_NE.empty() ? 0 : run.load.front().share_NE.front().size();
    out += fmt::format(
        "<h2>Expert load by domain: {}</h2>\n<p class=\"soft\">Percent of a domain's choices that go to each of {} "
        "experts; even use is {:.2f} %. Stronger colour is more.</p>\n",
        html::escaped(run.name), experts, experts ? 100.0 / static_cast<double>(experts) : 0.0);
    for (const ReportLoad& load : run.load) out += heat_map(load);
  }
  return out;
}

}  // namespace troupe
