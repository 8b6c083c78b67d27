#include "model/flops.h"

#include <algorithm>

namespace troupe {

ForwardFlops forward_flops_per_token(const ModelConfig& config, int64_t seq_len, const FlopsRule& rule) {
  const auto real = [](int64_t n) { return static_cast<double>(n); };
  const double L = real(config.num_layers), L_moe = real(config.num_moe_layers());
  const double D = real(config.d_model), F = real(config.d_ff), F_e = real(config.expert_d_ff());
  const double Q = real(config.query_width()), KV = real(config.kv_width());
  const double K = real(config.moe.top_k), E = real(config.moe.num_experts);
  const double V = real(rule.vocab_size > 0 ? rule.vocab_size : config.vocab_size);
  const double mlp = config.ffn_gated ? 6 : 4;  // three matrices in place of two
  double keys = 0.0;                            // that a token meets, over the layers
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    const int64_t window = config.window_of(layer);
    keys += real(window > 0 ? std::min(window, seq_len) : seq_len);
  }
  return {.projections = 4 * L * D * (Q + KV),
          .attention = 4 * keys * Q,
          .dense_ffn = mlp * (L - L_moe) * D * F,
          .experts = mlp * L_moe * D * (K * F_e + real(config.moe.shared_d_ff)),
          .router = rule.router && config.moe.has_router() ? 2 * L_moe * D * E : 0,
          .output = 2 * D * V};
}

double train_flops_per_token(const ModelConfig& config, int64_t seq_len, const FlopsRule& rule) {
  const ForwardFlops forward = forward_flops_per_token(config, seq_len, rule);
  return 3 * forward.total() + (rule.recompute ? forward.layers() : 0);
}

}  // namespace troupe
