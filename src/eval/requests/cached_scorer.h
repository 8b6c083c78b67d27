// Contexts that run once for all their continuations, and what contexts have in common once for all of them.
#pragma once

#include "eval/requests/scorer.h"
#include "model/language_model.h"

namespace troupe {

// Model and sink must outlive it.
Scorer cached_scorer(LanguageModel& model, const RequestOptions& options, Sink& sink);

}  // namespace troupe
