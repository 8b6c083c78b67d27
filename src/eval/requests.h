// Log-probabilities of continuations, many at a time: the one thing that tasks ask of a model.
//
// Requests are put into batches by length; what all contexts have in common (the shots of a draw) runs once, and so
// does a context that several continuations share. Sharing needs dropless routing; under a capacity rule each request
// is a row of a padded batch, and its score depends on the batch.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "dist/communicator.h"
#include "eval/journal.h"
#include "model/language_model.h"

namespace troupe {

struct ScoreRequest {
  std::vector<int32_t> context;       // at least one token; the first is never scored
  std::vector<int32_t> continuation;  // at least one token
};

struct ScoreAnswer {
  double logprob = 0.0;    // of the continuation's tokens together, natural log
  bool is_greedy = true;   // each token is the most probable one
  bool truncated = false;  // the context lost tokens on its left
  double per_token(size_t tokens) const { return logprob / static_cast<double>(tokens); }
};

struct RequestOptions {
  CapacityRule capacity{CapacityRule::kDropless};
  int64_t batch_tokens = 4096;
  int64_t context = 0;         // longest sequence of inputs; 0: the model's context
  Journal* journal = nullptr;  // answers found there are not computed again; new ones are added
  Communicator* ranks = nullptr;  // share the batches; each has the whole model, and the first one the journal
};

struct RequestStats {
  int64_t requests = 0, from_journal = 0, repeated = 0, truncated = 0;
  int64_t tokens = 0;      // of all requests, each with its context
  int64_t run_tokens = 0;  // that went through the model
  int64_t choices = 0, dropped = 0;
};

// Called with the share of the work that is done, 0 to 1.
using RequestProgress = std::function<void(double done)>;

// Answers in the order of the requests. A sequence longer than `context` loses tokens on the left of its context; a
// continuation longer than that is scored in pieces, each with half a context in front. Adds to `stats`.
// Throws kData for an id outside the vocabulary, kUsage for an empty context or continuation, kNonFinite.
std::vector<ScoreAnswer> score_requests(LanguageModel& model, std::span<const ScoreRequest> requests,
                                        const RequestOptions& options, RequestStats& stats,
                                        const RequestProgress& progress = {});

}  // namespace troupe
