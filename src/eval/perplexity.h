// Perplexity of a model on text: exp of the mean negative log-likelihood per token; bits per byte beside it, so that
// models with other tokenizers can be compared (docs/evaluation.md).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <tuple>
#include <vector>

#include "dist/communicator.h"
#include "eval/eval_text.h"
#include "eval/windows.h"
#include "model/language_model.h"

namespace troupe {

struct PerplexityOptions {
  WindowMode mode = WindowMode::kBlocks;
  int64_t context = 0;          // tokens of a sequence; 0: the model's context
  int64_t stride = 0;           // sliding and documents; 0: half the context (sliding), the whole one (documents)
  int64_t batch_sequences = 0;  // 0: as many as make about 4,096 tokens
  CapacityRule capacity{CapacityRule::kDropless};
  Communicator* ranks = nullptr;  // share the batches; each has the whole model and gets all results

  // fairseq's eval_lm: its blocks, their order in batches of batch_sequences, and blocks of MoE models padded to full
  // length (padding is routed). With a capacity rule the scores depend on all of it.
  bool fairseq = false;
  int64_t context_window = 0;  // fairseq: unscored tokens in front of each block, taken out of `context`
};

struct DocumentScore {
  double nll = 0.0;  // sum of negative log-likelihoods, natural log
  int64_t tokens = 0;
  int64_t bytes = -1;  // of the text; -1 if unknown
};

// As results keep them for comparisons: sums of negative log-likelihoods and scored tokens, in order.
using DocumentScores = std::vector<std::tuple<double, int64_t>>;

struct PerplexityResult {
  LossSum sum;                           // nll, tokens, choices and dropped
  int64_t bytes = -1;                    // of the text; -1 if unknown
  std::vector<DocumentScore> documents;  // in order
  std::vector<std::vector<int64_t>> load_LE;  // rows of every expert, by MoE layer
  int64_t context = 0, batch_sequences = 0;

  double nll() const { return sum.nll / static_cast<double>(sum.tokens); }  // nats per token
  double perplexity() const;
  double bits_per_byte() const;  // NaN if the bytes are unknown
  // Standard error of nll() over documents, as a ratio of two means (linearised); NaN with fewer than two documents.
  double standard_error() const;
  double half_interval() const;  // half of the 95 % interval of nll(), by t over documents
  DocumentScores document_scores() const;
};

// `done` of `total` windows are scored.
using ScoreProgress = std::function<void(int64_t done, int64_t total)>;

// Throws kUsage if the model has no end-of-text token to start from, kData if there is no token or one that is not the
// model's (an id too large, padding).
void check_eval_text(const EvalText& text, const ModelConfig& config);

// Throws as check_eval_text(), kUsage for options out of range, kNonFinite if a score is not finite, naming the
// document.
PerplexityResult evaluate_perplexity(LanguageModel& model, const EvalText& text, const PerplexityOptions& options,
                                     const ScoreProgress& progress = {});

// One batch as it goes through the model: rows are windows, right-padded to `width` (0: the longest).
Batch make_batch(const EvalText& text, std::span<const Window> windows, std::span<const int64_t> rows, int64_t width,
                 const ModelConfig& config);

// The windows of every batch, and the width of a batch's rows (0: its longest).
struct BatchPlan {
  std::vector<Window> windows;
  std::vector<std::vector<int64_t>> batches;  // rows as indices into windows
  int64_t width = 0;
};
BatchPlan plan_batches(const EvalText& text, const PerplexityOptions& options, const ModelConfig& config);

}  // namespace troupe
