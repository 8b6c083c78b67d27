// A study as a report for people (study/report.h).
#pragma once

#include "study/report.h"
#include "study/study.h"

namespace troupe {

// Everything of the study, with the metrics and the configuration read from the folders of its runs.
Report make_report(const StudyResult& result);

}  // namespace troupe
