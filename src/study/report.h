// The report of one or several runs as one HTML file that needs nothing else: tables, loss curves, routing, expert load
// by domain, samples, configurations (docs/report.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "study/metrics_history.h"
#include "study/paired.h"

namespace troupe {

// A model on one set of text.
struct ReportDomain {
  std::string name;
  bool held_out = false;
  double nll = 0, bits_per_byte = 0;  // nats per token; NaN where unknown
  double drop_rate = 0;

  double perplexity() const;
};

struct ReportSample {
  std::string prompt, text;
};

// How often each domain uses each expert of one MoE layer: shares of its choices, [domain][expert].
struct ReportLoad {
  int64_t layer = 0;
  std::vector<std::string> domains;
  std::vector<std::vector<double>> share_NE;
};

struct ReportRun {
  std::string name;
  int64_t params = 0, active_params = 0;
  double flops_per_token = 0;  // of training, nothing recomputed
  double tokens = 0, seconds = 0;
  MetricsHistory metrics;
  std::vector<ReportDomain> domains;
  std::vector<ReportLoad> load;
  std::vector<ReportSample> samples;
  std::string config;                    // resolved TOML
  std::vector<std::string> computed_by;  // one line per start and resume of the run (history.jsonl)
};

struct ReportComparison {
  std::string baseline, model, domain;  // difference of model minus baseline
  bool held_out = false;
  PairedDifference difference;
};

struct Report {
  std::string title;
  std::vector<std::string> notes;  // paragraphs under the title
  std::vector<ReportRun> runs;
  std::vector<ReportComparison> comparisons;
};

// A run directory on its own: config.toml and metrics.jsonl, with the last validation as domains. Throws kData if
// either is missing or damaged.
ReportRun read_run(const std::filesystem::path& folder, const std::string& name);

// HTML5, light and dark, no scripts, nothing fetched. Every text is escaped. Without gnuplot the page says so and has
// tables only.
std::string to_html(const Report& report, const std::string& gnuplot = "gnuplot");

void write_report(const std::filesystem::path& path, const Report& report);  // atomic

}  // namespace troupe
