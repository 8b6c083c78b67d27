// What a study measures on one trained model: perplexity document by document in every domain, which experts each
// domain uses, and samples. Kept as JSON beside the model, so that a finished evaluation is not repeated.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "study/result.h"
#include "study/study_config.h"
#include "study/study_data.h"

namespace troupe {

struct ModelEvaluation {
  std::vector<DomainResult> domains;
  std::vector<TextSample> samples;
};

using EvaluationProgress = std::function<void(const std::string& domain, double share_done)>;

// Scores one text of a domain; documents of the result are those of the text. Throws kNonFinite as
// evaluate_perplexity() does. `ranks` share it (nullptr: one process).
DomainResult score_text(LanguageModel& model, const StudyDomain& domain, const EvalText& text,
                        const EvaluationProgress& progress, Communicator* ranks);
// The domain's tokens up to study.valid_tokens, cut at a document; throws kData unless they are this tokenizer's.
EvalText read_domain(const StudyDomain& domain, const std::filesystem::path& tokenizer, int64_t end_of_text,
                     int64_t max_tokens);

// Every domain of the model in `model_folder`, in blocks of its context, dropless; `ranks` share each.
std::vector<DomainResult> score_domains(const std::filesystem::path& model_folder, const StudyConfig& config,
                                        const StudyData& data, const EvaluationProgress& progress, Communicator* ranks);

// What `score` makes of the model's domains, and samples; or reads `cache` if it was made from exactly this model, data
// and settings.
ModelEvaluation evaluate_model(const std::filesystem::path& model_folder, const std::filesystem::path& cache,
                               const StudyConfig& config, const StudyData& data,
                               const std::function<std::vector<DomainResult>()>& score);

}  // namespace troupe
