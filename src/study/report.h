// The report of one or several models as one HTML file that needs nothing else: tables, loss curves, routing, expert
// load by domain, samples, configurations (docs/report.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "study/result.h"
#include "study/seeds.h"

namespace troupe {

struct Report {
  std::string title;
  std::vector<std::string> notes;  // paragraphs under the title
  std::vector<ModelResult> models;
  std::vector<Comparison> comparisons;
  std::vector<SeedResult> seeds;   // of a study with several; else empty
  std::vector<int64_t> seed_list;
  std::string scored;    // which part of each set the table is about: "all of each set"
  std::string sampling;  // how samples were drawn
};

// Of runs alone: the last validation is the table, compared by documents.
Report make_report(std::vector<ModelResult> runs);

// HTML5, light and dark, no scripts, nothing fetched. Every text is escaped. Without gnuplot the page says so and has
// tables only.
std::string to_html(const Report& report, const std::string& gnuplot = "gnuplot");

void write_report(const std::filesystem::path& path, const Report& report);  // atomic

// The first prompt's of every model, then the second's: what is to be compared is neighbours.
struct ModelSample {
  const ModelResult* model;
  const TextSample* sample;
};
std::vector<ModelSample> samples_by_prompt(const std::vector<ModelResult>& models);

// "-0.0290 ± 0.0040"; of one document without an interval.
std::string paired_text(const PairedDifference& difference);
std::string spread_text(const Spread& spread);              // the same over seeds
std::string disturbance_text(const ModelResult& model);     // "" if nothing disturbed its training

}  // namespace troupe
