// The tables of a report as HTML.
#pragma once

#include <string>

#include "study/report.h"

namespace troupe {

std::string models_table(const Report& report);
std::string domains_table(const Report& report);  // "" without domains
std::string seeds_table(const Report& report);    // "" without several seeds
std::string load_tables(const Report& report);    // expert load by domain, a heat map a layer; "" without MoE

// How often each text uses each expert of one MoE layer: shares of its choices, [text][expert].
struct ReportLoad {
  int64_t layer = 0;
  std::vector<std::string> domains;
  std::vector<std::vector<double>> share_NE;
};
std::vector<ReportLoad> expert_load(const ModelResult& model);  // empty without MoE, or where it was not measured

}  // namespace troupe
