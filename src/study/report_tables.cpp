#include "study/report_tables.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "base/quantity.h"
#include "study/html.h"

namespace troupe {
namespace {

std::string mark(const std::string& html) { return "<span class=\"mark\">" + html + "</span>"; }

// Lower than every other model's on the same documents, beyond the interval.
bool is_best(const Report& report, const ModelResult& model, const DomainResult& domain) {
  bool others = false;
  for (const ModelResult& other : report.models) {
    if (&other == &model) continue;
    const DomainResult *own = model.find(domain), *its = other.find(domain);
    if (!own || !its) continue;
    const auto difference = paired_difference(its->documents, own->documents);
    if (!difference || difference->verdict() != Verdict::kBetter) return false;
    others = true;
  }
  return others;
}

// Rows of every text, under the name of their group.
template <class Row>
void for_each_domain(const Report& report, html::Table& table, const Row& row) {
  std::string group;
  for (const DomainResult& domain : all_domains(report.models)) {
    const std::string its = domain.held_out    ? "held out: never trained on"
                            : domain.in_domain ? "in domain: held-back text of domains trained on"
                                               : "validation sets";
    if (its != group) table.group(group = its);
    table.row(html::escaped(domain.name));
    row(domain);
  }
}

std::string perplexity_table(const Report& report) {
  std::vector<std::string> header = {"text"};
  for (const ModelResult& model : report.models) header.push_back(html::escaped(model.name));
  std::vector<const ModelResult*> compared;
  for (const ModelResult& model : report.models)
    if (std::any_of(report.comparisons.begin(), report.comparisons.end(),
                    [&](const Comparison& c) { return c.model == model.name; }))
      compared.push_back(&model);
  for (const ModelResult* model : compared)
    header.push_back(fmt::format("{} − {}<br>nats per token", html::escaped(model->name),
                                 html::escaped(report.comparisons.front().baseline)));
  html::Table table("Perplexity by text", header);
  bool bold = false;
  for_each_domain(report, table, [&](const DomainResult& domain) {
    for (const ModelResult& model : report.models) {
      const DomainResult* own = model.find(domain);
      const bool best = own && is_best(report, model, domain);
      bold |= best;
      table.cell(own ? number_text(own->perplexity(), 2) : "–", best ? "best" : "");
    }
    for (const ModelResult* model : compared) {
      const Comparison* c = find(report.comparisons, model->name, domain);
      if (!c) {
        table.cell("–");
        continue;
      }
      const Verdict verdict = c->difference.verdict();
      table.cell(paired_text(c->difference) + " <small>" + std::string(name_of_enum(verdict)) + "</small>",
                 html::css_of(verdict));
    }
  });
  std::string note;
  if (!report.scored.empty()) note += "Of " + html::escaped(report.scored) + ". ";
  if (bold) note += "Bold: lower than every other model, beyond the interval. ";
  if (!compared.empty())
    note += "Differences are over the same documents, below 0 the model predicts better. " + html::escaped(kPairedNote);
  else if (report.models.size() > 1)
    note +=
        "No differences: the models were not scored on the same documents, or their runs are of a version that does "
        "not "
        "keep scores by document.";
  return "<h2>Perplexity</h2>\n" + table.html() + (note.empty() ? "" : html::soft_paragraph(note));
}

std::string bits_table(const Report& report) {
  std::vector<std::string> header = {"text"};
  const auto drops = [](const ModelResult& model) {
    return std::any_of(model.domains.begin(), model.domains.end(),
                       [](const DomainResult& d) { return d.drop_rate > 0; });
  };
  bool dropped = false, moe = false;
  for (const ModelResult& model : report.models) {
    header.push_back(html::escaped(model.name));
    moe |= model.is_moe();
    if (drops(model)) header.push_back(html::escaped(model.name) + "<br>dropped"), dropped = true;
  }
  html::Table table("Bits per byte by text", header);
  for_each_domain(report, table, [&](const DomainResult& domain) {
    for (const ModelResult& model : report.models) {
      const DomainResult* own = model.find(domain);
      table.cell(own ? number_text(own->bits_per_byte, 4) : "–");
      if (drops(model)) table.cell(own ? percent_text(own->drop_rate) : "–");
    }
  });
  return "<h3>Bits per byte</h3>\n" + table.html() +
         (dropped ? html::soft_paragraph("Dropped: share of expert choices lost to a full expert.")
          : moe   ? html::soft_paragraph("No expert's choice was dropped.")
                  : "");
}

// Of the experts [begin, end): as many as fit the page's width.
constexpr size_t kMostExperts = 32;
std::string heat_map_part(const ReportLoad& load, double most, size_t begin, size_t end) {
  const size_t experts = load.share_NE.front().size();
  std::vector<std::string> header = {"expert"};
  for (size_t e = begin; e < end; ++e) header.push_back(fmt::format("{}", e));
  std::string caption = fmt::format("Layer {}: percent of choices by text and expert", load.layer);
  if (experts > kMostExperts) caption += fmt::format(", experts {} to {}", begin, end - 1);
  html::Table table(caption, header, "heat");
  for (size_t n = 0; n < load.share_NE.size(); ++n) {
    table.row(html::escaped(load.domains[n]));
    for (size_t e = begin; e < end; ++e) {
      const double share = load.share_NE[n][e];
      table.cell_with(
          fmt::format("title=\"{}, expert {}: {}\" style=\"--share:{:.2f}\"", html::escaped(load.domains[n]), e,
                      percent_text(share, 2), most > 0 ? share / most : 0.0),
          number_text(100 * share, experts > 32 && share < 0.0995 ? 1 : 0));
    }
  }
  return table.html();
}

std::string heat_map(const ReportLoad& load, double most) {
  std::string out = fmt::format("<h3>Layer {}</h3>\n", load.layer);
  const size_t experts = load.share_NE.front().size();
  for (size_t begin = 0; begin < experts; begin += kMostExperts)
    out += heat_map_part(load, most, begin, std::min(begin + kMostExperts, experts));
  return out;
}

}  // namespace

std::string models_table(const Report& report) {
  html::Table table("Models", {"model", "parameters", "active", "per token", "tokens", "training", "time", "tokens/s",
                               "training loss"});
  std::string notes;
  for (const ModelResult& model : report.models) {
    const bool disturbed = model.disturbance().intervals > 0;
    const std::string star = disturbed ? mark(" *") : "";
    table.row(html::escaped(model.name) + (model.is_finished() ? "" : mark(" (unfinished)")))
        .cell(short_number(static_cast<double>(model.params)))
        .cell(short_number(static_cast<double>(model.active_params)))
        .cell(short_flops(model.flops_per_token))
        .cell(short_number(static_cast<double>(model.tokens)))
        .cell(short_flops(model.train_flops()))
        .cell(short_duration(model.seconds) + star)
        .cell(short_number(model.tokens_per_second()) + star)
        .cell(number_text(model.metrics.train.empty() ? NAN : model.metrics.train.back().loss, 4));
    const std::string name = html::escaped(model.name);
    if (!model.is_finished())
      notes +=
          html::soft_paragraph(mark("Unfinished: ") + fmt::format("{} is at step {} of {}; its learning rate has not "
                                                                  "come down, and its losses are no results.",
                                                                  name, model.step, model.steps));
    if (disturbed) notes += html::soft_paragraph(mark("* ") + html::escaped(disturbance_text(model)));
    for (const std::string& by : model.computed_by)
      notes += html::soft_paragraph(fmt::format("{}, {}", name, html::escaped(by)));
  }
  return "<h2>Models</h2>\n" + table.html() +
         html::soft_paragraph(
             "Active: parameters that one token passes through. FLOPs of training, forward and backward, nothing "
             "recomputed; time in training steps alone; training loss: of the last logging interval.") +
         notes;
}

std::string domains_table(const Report& report) {
  if (all_domains(report.models).empty()) return {};
  return perplexity_table(report) + bits_table(report);
}

std::string seeds_table(const Report& report) {
  if (report.seeds.empty()) return {};
  std::vector<std::string> header = {"text"};
  for (const ModelResult& model : report.models) header.push_back(html::escaped(model.name) + "<br>nats per token");
  for (size_t m = 1; m < report.models.size(); ++m)
    header.push_back(
        fmt::format("{} − {}", html::escaped(report.models[m].name), html::escaped(report.models[0].name)));
  html::Table table("Over seeds", header);
  for_each_domain(report, table, [&](const DomainResult& domain) {
    const auto of = [&](const ModelResult& model) {
      return std::find_if(report.seeds.begin(), report.seeds.end(), [&](const SeedResult& result) {
        return result.model == model.name && result.domain.is_same_text(domain);
      });
    };
    for (const ModelResult& model : report.models) {
      const auto at = of(model);
      table.cell(at == report.seeds.end()
                     ? "–"
                     : fmt::format("{} (s {})", number_text(at->nll.mean(), 4), number_text(at->nll.deviation(), 4)));
    }
    for (size_t m = 1; m < report.models.size(); ++m) {
      const auto at = of(report.models[m]);
      if (at == report.seeds.end()) {
        table.cell("–");
        continue;
      }
      table.cell(spread_text(at->difference), html::css_of(at->difference.verdict()));
    }
  });
  return "<h2>Over seeds</h2>\n" + table.html() +
         html::soft_paragraph(fmt::format("Trainings with the seeds {}: initialisation, order of the data, dropout. "
                                          "Mean and s, the standard deviation "
                                          "over trainings; differences are of trainings of one seed, ± half the 95 % "
                                          "interval of their mean, by t over "
                                          "{}. All other tables and charts are of seed {}.",
                                          fmt::join(report.seed_list, ", "),
                                          counted(static_cast<int64_t>(report.seed_list.size()), "seed"),
                                          report.seed_list.front()));
}

std::vector<ReportLoad> expert_load(const ModelResult& model) {
  std::vector<int64_t> layers;
  for (int64_t layer = 0; layer < model.config.model.num_layers; ++layer)
    if (model.config.model.is_moe_layer(layer)) layers.push_back(layer);
  std::vector<ReportLoad> loads;
  for (size_t l = 0; l < layers.size(); ++l) {
    ReportLoad load{.layer = layers[l], .domains = {}, .share_NE = {}};
    for (const DomainResult& domain : model.domains) {
      if (l >= domain.load_LE.size()) continue;
      load.domains.push_back(domain.label());
      double sum = 0;
      for (const int64_t count : domain.load_LE[l]) sum += static_cast<double>(count);
      std::vector<double>& shares = load.share_NE.emplace_back();
      for (const int64_t count : domain.load_LE[l]) shares.push_back(sum > 0 ? static_cast<double>(count) / sum : 0.0);
    }
    if (!load.domains.empty()) loads.push_back(std::move(load));
  }
  return loads;
}

std::string load_tables(const Report& report) {
  std::string out;
  for (const ModelResult& model : report.models) {
    const std::vector<ReportLoad> loads = expert_load(model);
    if (loads.empty()) continue;
    double most = 0;
    for (const ReportLoad& load : loads)
      for (const std::vector<double>& shares : load.share_NE)
        for (const double share : shares) most = std::max(most, share);
    const size_t experts = loads.front().share_NE.empty() ? 0 : loads.front().share_NE.front().size();
    out += fmt::format("<h2>Expert load by domain: {}</h2>\n", html::escaped(model.name)) +
           html::soft_paragraph(fmt::format("Percent of a text's choices that go to each of {}; even use is {}. "
                                            "One scale for all layers:",
                                            counted(static_cast<int64_t>(experts), "expert"),
                                            percent_text(experts ? 1.0 / static_cast<double>(experts) : NAN, 2))) +
           fmt::format("<div class=\"scale\"><span>0 %</span><i></i><span>{}</span></div>\n", percent_text(most));
    for (const ReportLoad& load : loads) out += heat_map(load, most);
  }
  return out;
}

}  // namespace troupe
