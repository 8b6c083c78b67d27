#include <fmt/format.h>

#include "study/html.h"
#include "study/report.h"
#include "study/report_charts.h"
#include "study/report_tables.h"

namespace troupe {
namespace {

std::string samples_html(const Report& report) {
  std::string out;
  for (const ReportRun& run : report.runs)
    for (const ReportSample& sample : run.samples)
      out += fmt::format("<blockquote><cite>{}</cite><b>{}</b>{}</blockquote>\n", html::escaped(run.name),
                         html::escaped(sample.prompt), html::escaped(sample.text));
  return out.empty() ? out : "<h2>Samples</h2>\n<div class=\"samples\">\n" + out + "</div>\n";
}

std::string configs_html(const Report& report) {
  std::string out;
  for (const ReportRun& run : report.runs)
    if (!run.config.empty()) {
      std::string by;
      for (const std::string& line : run.computed_by) by += "# " + line + "\n";
      out += fmt::format("<details><summary>{}</summary><pre>{}{}</pre></details>\n", html::escaped(run.name),
                         html::escaped(by), html::escaped(run.config));
    }
  return out.empty() ? out : "<h2>Configuration</h2>\n" + out;
}

}  // namespace

std::string to_html(const Report& report, const std::string& gnuplot) {
  std::string out;
  for (const std::string& note : report.notes) out += "<p>" + html::escaped(note) + "</p>\n";
  out += "<h2>Models</h2>\n" + models_table(report);
  out += domains_table(report);
  out += charts_html(report, gnuplot);
  out += load_tables(report);
  out += samples_html(report);
  out += configs_html(report);
  return html::page(report.title, out);
}

}  // namespace troupe
