#include "model/reshape.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "base/error.h"
#include "base/rng.h"
#include "model/decoder_parameters.h"

namespace troupe {
namespace {

// Parameters of the model that is read, one of them kept: those of a layer's experts are made of the same.
class Source {
 public:
  Source(const ModelConfig& config, ParameterSource read) : table_(make_parameter_table(config)), read_(std::move(read)) {}

  bool has(const std::string& name) const { return table_.find_or_null(name).has_value(); }
  void copy(const Parameter& parameter, std::span<float> out) const { read_(table_.find(parameter.name), out); }
  const std::vector<float>& values(const std::string& name) {
    if (name == kept_) return values_;
    const Parameter parameter = table_.find(name);
    values_.resize(static_cast<size_t>(parameter.size()));
    read_(parameter, values_);
    kept_ = name;
    return values_;
  }

 private:
  ParameterTable table_;
  ParameterSource read_;
  std::string kept_;
  std::vector<float> values_;
};

uint64_t key_of(uint64_t seed, const std::string& name) {
  uint64_t key = seed;
  for (const char c : name) key = mix_key(key, static_cast<uint64_t>(static_cast<unsigned char>(c)));
  return key;
}

// Where a slice of an FFN of width F lies in one of its tensors: `runs` runs of `length` values, `stride` apart.
struct SliceOfFfn {
  int64_t begin, length, stride, runs;
};

// Slice `i` of `count`. fc1 is [F, D], or [2 F, D] with the gate above; its bias the same without D; fc2 is [D, F].
SliceOfFfn slice_of(const std::string& kind, int64_t i, int64_t count, int64_t D, int64_t F, bool gated) {
  const int64_t part = F / count;
  if (kind == "fc2.weight") return {i * part, part, F, D};
  if (kind == "fc2.bias") return {0, D, D, 1};  // of the whole
  const int64_t width = kind == "fc1.weight" ? D : 1;
  return {i * part * width, part * width, F * width, gated ? 2 : 1};
}

// layers.3.moe.experts.17.fc1.weight -> fc1.weight
std::string kind_of(const std::string& name) { return name.substr(name.find(".fc") + 1); }

}  // namespace

ReshapedModel upcycle(const ModelConfig& dense, ParameterSource read, const Upcycling& options,
                      const std::string& where) {
  const auto require = [&](bool holds, const char* flag, const std::string& expected, int64_t got) {
    if (!holds) fail(ErrorCode::kUsage, "{}: expected {}, got {}", flag, expected, got);
  };
  const int64_t G = options.granularity, E = options.experts, K = options.top_k;
  if (dense.num_moe_layers() > 0)
    fail(ErrorCode::kUsage, "{}: expected a dense model (--experts), got one with {} experts", where,
         dense.moe.num_experts);
  require(dense.d_ff % G == 0, "--granularity", fmt::format("a divisor of d_ff ({})", dense.d_ff), G);
  require(E % G == 0, "--experts", fmt::format("a multiple of the granularity ({})", G), E);
  require(K % G == 0, "--top-k", fmt::format("a multiple of the granularity ({}), so that copies stay whole", G), K);
  require(K <= E, "--top-k", fmt::format("at most --experts ({})", E), K);
  require(K >= 2, "--top-k", "at least 2 (the weight of a single choice would not be 1)", K);
  require(K <= kMaxTopK, "--top-k", fmt::format("at most {}", kMaxTopK), K);
  require(options.every <= dense.num_layers, "--every", fmt::format("at most num_layers ({})", dense.num_layers),
          options.every);

  ModelConfig sparse = dense;
  sparse.moe = MoeConfig();
  sparse.moe.num_experts = E, sparse.moe.every = options.every, sparse.moe.top_k = K;
  sparse.moe.expert_d_ff = dense.d_ff / G, sparse.moe.normalize = Normalize::kBeforeDropping;
  check(sparse, where);

  const auto source = std::make_shared<Source>(dense, std::move(read));
  return {sparse, [source, options, D = dense.d_model, F = dense.d_ff, gated = dense.ffn_gated](
                      const Parameter& parameter, std::span<float> out) {
            const std::string& name = parameter.name;
            if (source->has(name)) return source->copy(parameter, out);
            const int64_t G = options.granularity;
            if (name.ends_with(".moe.router.weight")) {  // a copy's slices have one row
              Rng rng(key_of(options.seed, name));
              for (size_t e = 0; e < out.size() / static_cast<size_t>(D); ++e)
                for (size_t d = 0; d < static_cast<size_t>(D); ++d)
                  out[e * D + d] = e % static_cast<size_t>(G) == 0 ? static_cast<float>(0.02 * rng.normal())
                                                                   : out[(e - 1) * D + d];
              return;
            }
            const std::string kind = kind_of(name);
            const std::vector<float>& whole =
                source->values(fmt::format("layers.{}.ffn.{}", parameter.layer, kind));
            const SliceOfFfn slice = slice_of(kind, parameter.expert % G, G, D, F, gated);
            const float factor = kind == "fc2.weight" ? static_cast<float>(G) : 1.0f;
            size_t at = 0;
            double squares = 0.0;
            for (int64_t run = 0; run < slice.runs; ++run)
              for (int64_t i = 0; i < slice.length; ++i, ++at) {
                out[at] = factor * whole[static_cast<size_t>(slice.begin + run * slice.stride + i)];
                squares += double{out[at]} * double{out[at]};
              }
            if (options.noise == 0.0 || parameter.shape.size() < 2) return;
            const double deviation = options.noise * std::sqrt(squares / static_cast<double>(out.size()));
            Rng rng(key_of(options.seed, name));
            for (float& value : out) value += static_cast<float>(deviation * rng.normal());
          }};
}

ReshapedModel make_dense(const ModelConfig& sparse, ParameterSource read, Densify how,
                         const std::vector<std::vector<double>>& use, const std::string& where) {
  const auto layers = static_cast<size_t>(sparse.num_moe_layers());
  const auto E = static_cast<size_t>(sparse.moe.num_experts);
  if (layers == 0) fail(ErrorCode::kUsage, "{}: expected a model with experts (--dense), got a dense one", where);
  if (sparse.moe.shared_d_ff > 0)
    fail(ErrorCode::kUsage, "{}: --dense: expected a model without a shared expert, got moe.shared_d_ff {}", where,
         sparse.moe.shared_d_ff);
  const auto other = std::find_if(use.begin(), use.end(), [&](const auto& layer) { return layer.size() != E; });
  if (!use.empty() && (use.size() != layers || other != use.end()))
    fail(ErrorCode::kUsage, "{}: --dense: expected the use of {} experts in {} layers, got that of {} in {}", where, E,
         layers, (other != use.end() ? *other : use.front()).size(), use.size());
  const int64_t expert_width = sparse.expert_d_ff();
  const bool all_sparse = sparse.num_moe_layers() == sparse.num_layers;
  ModelConfig dense = sparse;
  dense.moe = MoeConfig();
  if (all_sparse) dense.d_ff = how == Densify::kMerge ? expert_width : expert_width * sparse.moe.top_k;
  const int64_t count = dense.d_ff / expert_width;  // experts side by side
  if (dense.d_ff % expert_width != 0 || count < 1 || count > sparse.moe.num_experts ||
      (how == Densify::kMerge && count != 1))
    fail(ErrorCode::kUsage,
         "{}: --dense {}: expected experts {} the width of the dense layers ({}), got {} experts of width {}", where,
         name_of_enum(how), how == Densify::kMerge ? "of" : "that fill", dense.d_ff, E, expert_width);

  // By layer, the experts that remain, with their shares of the use.
  using Remaining = std::vector<std::pair<size_t, double>>;
  std::vector<Remaining> of_layer(static_cast<size_t>(sparse.num_layers));
  size_t next = 0;
  for (int64_t layer = 0; layer < sparse.num_layers; ++layer) {
    if (!sparse.is_moe_layer(layer)) continue;
    std::vector<double> share = use.empty() ? std::vector<double>(E, 1.0) : use[next];
    ++next;
    Remaining& remaining = of_layer[static_cast<size_t>(layer)];
    for (size_t e = 0; e < E; ++e) remaining.emplace_back(e, share[e]);
    if (how == Densify::kDrop) {
      std::stable_sort(remaining.begin(), remaining.end(), [](auto& a, auto& b) { return a.second > b.second; });
      remaining.resize(static_cast<size_t>(count));
    }
    double sum = 0.0;
    for (const auto& [e, of_e] : remaining) sum += of_e;
    for (auto& [e, of_e] : remaining) of_e = sum > 0 ? of_e / sum : 1.0 / static_cast<double>(remaining.size());
  }

  const auto source = std::make_shared<Source>(sparse, std::move(read));
  return {dense, [source, of_layer, how, D = dense.d_model, F = dense.d_ff, count, gated = dense.ffn_gated](
                     const Parameter& parameter, std::span<float> out) {
            const std::string& name = parameter.name;
            if (source->has(name)) return source->copy(parameter, out);
            const std::string kind = kind_of(name);
            std::vector<double> sums(out.size(), 0.0);
            size_t place = 0;
            for (const auto& [e, share] : of_layer[static_cast<size_t>(parameter.layer)]) {
              const std::vector<float>& expert =
                  source->values(fmt::format("layers.{}.moe.experts.{}.{}", parameter.layer, e, kind));
              const bool merged = how == Densify::kMerge;
              const SliceOfFfn slice =
                  slice_of(kind, merged ? 0 : static_cast<int64_t>(place++), merged ? 1 : count, D, F, gated);
              // An expert that stands beside others adds its share of the output: in fc2.
              const double factor = merged || kind.starts_with("fc2") ? share : 1.0;
              size_t at = 0;
              for (int64_t run = 0; run < slice.runs; ++run)
                for (int64_t i = 0; i < slice.length; ++i, ++at)
                  sums[static_cast<size_t>(slice.begin + run * slice.stride + i)] += factor * double{expert[at]};
            }
            std::transform(sums.begin(), sums.end(), out.begin(), [](double sum) { return static_cast<float>(sum); });
          }};
}

}  // namespace troupe
