// A study's results as tables and JSON; study_html.h makes the page. All of them say the same.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "study/study.h"

namespace troupe {

using TextTable = std::vector<std::vector<std::string>>;  // first row: header

std::string domain_label(const DomainResult& domain);  // "quotes (held out)"

// Models as columns: sizes, cost, speed, then perplexity, bits per byte and drop rate of every domain.
TextTable study_table(const StudyResult& result);

// Per domain: difference in nats per token, its standard error, and whether it is beyond two of them.
TextTable comparison_table(const StudyResult& result);
std::string comparison_note(const StudyResult& result);

std::vector<nlohmann::ordered_json> study_lines(const StudyResult& result);  // troupe.study.point/1, .comparison/1
nlohmann::ordered_json study_summary(const StudyResult& result);

}  // namespace troupe
