// A study's results as tables, JSON and a report (study/report.h). All of them say the same.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "study/report.h"
#include "study/study.h"

namespace troupe {

using TextTable = std::vector<std::vector<std::string>>;  // first row: header

// Models as columns: sizes, cost, speed, then perplexity, bits per byte and drop rate of every domain.
TextTable study_table(const StudyResult& result);

// Per domain: difference in nats per token with half of its 95 % interval, and what it says.
TextTable comparison_table(const std::vector<Comparison>& comparisons);
// Per domain and model: mean and deviation over seeds, and the difference to the first model with its interval.
TextTable seeds_table(const StudyResult& result);
std::vector<std::string> study_notes(const StudyResult& result);  // what the tables claim, and what they do not

std::vector<nlohmann::ordered_json> study_lines(const StudyResult& result);
nlohmann::ordered_json study_summary(const StudyResult& result);

Report make_report(const StudyResult& result);

}  // namespace troupe
