#include "model/flops.h"

namespace troupe {

ForwardFlops forward_flops_per_token(const ModelConfig& config, int64_t seq_len, const FlopsRule& rule) {
  const auto real = [](int64_t n) { return static_cast<double>(n); };
  const double L = real(config.num_layers), L_moe = real(config.num_moe_layers());
  const double D = real(config.d_model), F = real(config.d_ff), F_e = real(config.expert_d_ff());
  const double K = real(config.moe.top_k), E = real(config.moe.num_experts);
  const double V = real(rule.vocab_size > 0 ? rule.vocab_size : config.vocab_size);
  return {.projections = 8 * L * D * D,
          .attention = 4 * L * real(seq_len) * D,
          .dense_ffn = 4 * (L - L_moe) * D * F,
          .experts = 4 * L_moe * K * D * F_e,
          .router = rule.router ? 2 * L_moe * D * E : 0,
          .output = 2 * D * V};
}

double train_flops_per_token(const ModelConfig& config, int64_t seq_len, const FlopsRule& rule) {
  const ForwardFlops forward = forward_flops_per_token(config, seq_len, rule);
  return 3 * forward.total() + (rule.recompute ? forward.layers() : 0);
}

}  // namespace troupe
