// Dense models as Mixtures of Experts, and back, parameter by parameter: what convert writes in place of its source.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/model_directory.h"
#include "troupe/config.h"
#include "troupe/fields.h"

namespace troupe {

struct ReshapedModel {
  ModelConfig config;
  ParameterSource read;
};

// Sparse upcycling (Komatsuzaki et al. 2023, arXiv:2212.05055; granularity as He et al. 2024, arXiv:2410.07524): in every
// `every`-th layer the FFN becomes `experts` experts. With granularity G each is one of the FFN's G slices, G of them in
// a row are a copy of the FFN and share their row of the router, so that top-k takes whole copies; fc2 grows by G, as a
// slice weighs 1 / G of its copy. Weights sum to 1, so without noise the outputs are the dense model's.
struct Upcycling {
  int64_t experts = 8;      // E, a multiple of `granularity`
  int64_t granularity = 1;  // G, divides d_ff
  int64_t top_k = 2;        // a multiple of `granularity`; at least 2
  int64_t every = 1;
  double noise = 0.0;  // normal, added to the experts' matrices: its deviation by the matrix's root mean square
  uint64_t seed = 1;   // of noise and routers
};

// Throws kUsage naming the flag that does not fit, or that the model is sparse.
ReshapedModel upcycle(const ModelConfig& dense, ParameterSource read, const Upcycling& options, const std::string& where);

// One FFN in place of a layer's experts: their mean by use, or as many of the most used ones as the width of the dense
// layers holds (of the choices of a token, where there is none), side by side, each with its share of their use. An
// approximation but for experts that are equal.
enum class Densify { kMerge, kDrop };
template <>
struct EnumNames<Densify> {
  static constexpr std::array<std::pair<std::string_view, Densify>, 2> values = {
      {{"merge", Densify::kMerge}, {"drop", Densify::kDrop}}};
};

// `use` [MoE layers][E]: shares of choices; empty: all the same. Throws kUsage naming the fact in the way.
ReshapedModel make_dense(const ModelConfig& sparse, ParameterSource read, Densify how,
                         const std::vector<std::vector<double>>& use, const std::string& where);

}  // namespace troupe
