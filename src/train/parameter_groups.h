// Groups of parameters with rates of their own. What a parameter is follows from its row of the table alone.
#pragma once

#include "nn/parameters.h"
#include "troupe/fields.h"

namespace troupe {

enum class ParameterGroup {
  kEmbedding,  // tables that are looked up: of tokens (the output layer's weights too if it shares them), of positions
  kHead,       // an output layer's own weights
  kMatrices,   // linear maps of the layers: attention, feed-forward, every expert
  kRest,       // biases, norms, routers
};

inline ParameterGroup group_of(const Parameter& parameter) {
  if (parameter.shape.size() != 2) return ParameterGroup::kRest;
  if (parameter.layer < 0) return parameter.product ? ParameterGroup::kHead : ParameterGroup::kEmbedding;
  return parameter.product ? ParameterGroup::kMatrices : ParameterGroup::kRest;
}

// A rate for each.
struct GroupRates {
  double embedding = 0.0, head = 0.0, matrices = 0.0, rest = 0.0;

  double of(ParameterGroup group) const {
    switch (group) {
      case ParameterGroup::kEmbedding:
        return embedding;
      case ParameterGroup::kHead:
        return head;
      case ParameterGroup::kMatrices:
        return matrices;
      case ParameterGroup::kRest:
        break;
    }
    return rest;
  }

  template <class V>
  void fields(V& v) {
    v("embedding", embedding, range(0, 1e38),
      "peak rate of the tables of tokens and positions; it follows the schedule as a share of train.schedule.lr, which "
      "0 means");
    v("head", head, range(0, 1e38), "the same of an output layer with weights of its own");
    v("matrices", matrices, range(0, 1e38), "the same of the matrices of attention and feed-forward layers");
    v("rest", rest, range(0, 1e38), "the same of biases, norms and routers");
  }
};

// Rates of an update at which the schedule's is `lr`, of a peak of `peak`. Peaks of 0 are the schedule's.
inline GroupRates rates_at(const GroupRates& peaks, double lr, double peak) {
  const auto rate = [&](double own) { return own > 0.0 ? lr * (own / peak) : lr; };
  return {rate(peaks.embedding), rate(peaks.head), rate(peaks.matrices), rate(peaks.rest)};
}

}  // namespace troupe
