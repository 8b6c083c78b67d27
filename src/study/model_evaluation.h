// What a study measures on one trained model: perplexity document by document in every domain, which experts each
// domain uses, and samples. Kept as JSON beside the model, so that a finished evaluation is not repeated.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "eval/perplexity.h"
#include "study/study_config.h"
#include "study/study_data.h"

namespace troupe {

struct DomainResult {
  std::string domain;
  bool held_out = false;
  LossSum sum;
  int64_t bytes = 0;
  double standard_error = 0.0;                // of the mean nll per token, over documents
  std::vector<DocumentScore> documents;       // in the order of the dataset
  std::vector<std::vector<int64_t>> load_LE;  // choices per MoE layer and expert

  double nll() const { return sum.nll / static_cast<double>(sum.tokens); }
  double perplexity() const;
  double bits_per_byte() const;
};

struct TextSample {
  std::string prompt, text;
};

struct ModelEvaluation {
  std::vector<DomainResult> domains;
  std::vector<TextSample> samples;
};

using EvaluationProgress = std::function<void(const std::string& domain, double share_done)>;

// Evaluates the model in `model_folder`, or reads `cache` if it was made from exactly this model, data and settings.
// Domains are scored in blocks of the model's context, dropless.
ModelEvaluation evaluate_model(const std::filesystem::path& model_folder, const std::filesystem::path& cache,
                               const StudyConfig& config, const StudyData& data, const EvaluationProgress& progress);

}  // namespace troupe
