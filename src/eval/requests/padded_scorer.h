// Every piece a row of a padded batch: what capacity rules need, under which a score depends on the batch.
#pragma once

#include "eval/requests/scorer.h"
#include "model/language_model.h"

namespace troupe {

// Model, options and sink must outlive it.
Scorer padded_scorer(LanguageModel& model, const RequestOptions& options, Sink& sink);

}  // namespace troupe
