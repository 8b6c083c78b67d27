#include "troupe/config.h"

#include <algorithm>

#include "base/error.h"

namespace troupe {
namespace {

// What does not go together, or would do nothing.
void check_router(const MoeConfig& moe, const std::string& where) {
  const std::string_view router = name_of_enum(moe.router), score = name_of_enum(moe.score);
  const auto require = [&](bool holds, const char* key, const char* expected, auto got, const std::string& why) {
    if (!holds) fail(ErrorCode::kUsage, "{}: moe.{}: expected {}, got {} ({})", where, key, expected, got, why);
  };
  const bool top_k = moe.router == RouterKind::kTopK, softmax = moe.score == RouterScore::kSoftmax;
  const bool plain = top_k && softmax && !moe.balance_bias && moe.groups == 1;
  const std::string of_router = fmt::format("moe.router is {}", router);
  require(top_k || softmax, "score", "softmax", score, of_router);
  require(top_k || !moe.balance_bias, "balance_bias", "false", moe.balance_bias, of_router);
  require(top_k || moe.groups == 1, "groups", "1", moe.groups, of_router);
  require(moe.has_router() || moe.router_z_loss == 0, "router_z_loss", "0", moe.router_z_loss,
          "a hash has no logits");
  require(moe.has_router() || moe.input_jitter == 0, "input_jitter", "0", moe.input_jitter, "a hash has no inputs");
  require(softmax || moe.router_z_loss == 0, "router_z_loss", "0", moe.router_z_loss,
          "it is about a softmax's sum, and moe.score is sigmoid");
  require(plain || moe.second_choice == SecondChoice::kAll, "second_choice", "all", name_of_enum(moe.second_choice),
          "chance is for top-2 by softmax without biases and groups");
  require(!moe.chance_in_eval || moe.second_choice != SecondChoice::kAll, "chance_in_eval", "false",
          moe.chance_in_eval, "moe.second_choice is all");
  require(moe.num_experts % moe.groups == 0, "groups", "a divisor of moe.num_experts", moe.groups,
          fmt::format("moe.num_experts is {}", moe.num_experts));
  require(moe.groups_kept <= moe.groups, "groups_kept", "at most moe.groups", moe.groups_kept,
          fmt::format("moe.groups is {}", moe.groups));
  require(moe.groups_kept * (moe.num_experts / moe.groups) >= moe.top_k, "groups_kept",
          "groups with at least moe.top_k experts", moe.groups_kept,
          fmt::format("they have {}, moe.top_k is {}", moe.groups_kept * (moe.num_experts / moe.groups), moe.top_k));
  require(moe.balance_over == BalanceOver::kGroup || moe.balance_choices == BalanceChoices::kAll, "balance_choices",
          "all", name_of_enum(moe.balance_choices), "moe.balance_over is update");
  require(moe.router_precision == RouterOperand::kFp32 || moe.input_jitter == 0, "router_precision", "fp32",
          name_of_enum(moe.router_precision), "jitter needs it");
  if (moe.router != RouterKind::kExpertChoice) return;
  require(moe.capacity == Capacity::kDropless, "capacity", "dropless", name_of_enum(moe.capacity),
          "experts choose as many tokens as they take");
  require(moe.normalize == Normalize::kNever, "normalize", "never", name_of_enum(moe.normalize), of_router);
  require(moe.group_sequences == 0, "group_sequences", "0", moe.group_sequences,
          "experts choose among the whole micro-batch");
  require(!moe.batch_prioritized, "batch_prioritized", "false", moe.batch_prioritized, of_router);
}

void check(const MoeConfig& moe, int64_t num_layers, const std::string& where) {
  if (moe.every > num_layers)
    fail(ErrorCode::kUsage, "{}: moe.every: expected at most num_layers ({}), got {} (no layer would be MoE)", where,
         num_layers, moe.every);
  if (const int64_t last = num_layers / moe.every * moe.every; moe.first_layer >= last)
    fail(ErrorCode::kUsage, "{}: moe.first_layer: expected below {}, got {} (no layer would be MoE)", where, last,
         moe.first_layer);
  if (moe.shared_gate && moe.shared_d_ff == 0)
    fail(ErrorCode::kUsage, "{}: moe.shared_gate: expected false without a shared expert (moe.shared_d_ff), got true",
         where);
  if (moe.top_k > moe.num_experts)
    fail(ErrorCode::kUsage, "{}: moe.top_k: expected at most moe.num_experts ({}), got {}", where, moe.num_experts,
         moe.top_k);
  if (moe.second_choice != SecondChoice::kAll && moe.top_k != 2)
    fail(ErrorCode::kUsage, "{}: moe.second_choice: expected all with moe.top_k {}, got {} (a policy of top-2 alone)",
         where, moe.top_k, name_of_enum(moe.second_choice));
  check_router(moe, where);
  if (moe.top_k == 1 && moe.capacity == Capacity::kFairseq && moe.capacity_factor == 0)
    fail(ErrorCode::kUsage, "{}: moe.capacity_factor: expected a number above 0, got 0 (every token would be dropped)",
         where);
}

// Sizes, each in its range, whose product no counter of bytes would hold. An upper bound, not a count.
void check_size(const ModelConfig& config, const std::string& where) {
  constexpr double kMost = 1e16;
  const auto real = [](int64_t n) { return static_cast<double>(n); };
  const double D = real(config.d_model), L = real(config.num_layers), experts = real(config.moe.num_experts);
  const double ffn = D * (2.0 * std::max(real(config.d_ff), experts * real(config.expert_d_ff()) + real(config.moe.shared_d_ff)) + experts);
  const double attention = 2.0 * D * real(config.head_width()) * real(config.num_heads + config.num_kv_heads());
  const double gates = config.ffn_gated ? 1.5 : 1.0;
  const double parameters =
      (real(config.vocab_size) * (config.tied_output ? 1.0 : 2.0) + real(config.context)) * D +
      L * (attention + gates * ffn);
  if (parameters > kMost)
    fail(ErrorCode::kUsage,
         "{}: expected at most {:.0e} parameters, got {:.1e} (num_layers, d_model, d_ff, moe.num_experts, vocab_size)",
         where, kMost, parameters);
}

void check(const RopeConfig& rope, const ModelConfig& config, const std::string& where) {
  if (config.rotary_width() < 2)
    fail(ErrorCode::kUsage, "{}: rope.part: expected at least 2 of {} columns of a head, got {} of them", where,
         config.head_width(), rope.part);
  const bool needs_original = rope.scaling == RopeScaling::kLlama3 || rope.scaling == RopeScaling::kYarn;
  if (needs_original && rope.original_context == 0)
    fail(ErrorCode::kUsage, "{}: rope.original_context: expected a context with scaling {}, got 0", where,
         name_of_enum(rope.scaling));
  if (rope.scaling == RopeScaling::kLlama3 && rope.low_freq_factor >= rope.high_freq_factor)
    fail(ErrorCode::kUsage, "{}: rope.low_freq_factor: expected below high_freq_factor ({}), got {}", where,
         rope.high_freq_factor, rope.low_freq_factor);
  if (rope.scaling == RopeScaling::kDynamic && config.rotary_width() < 4)
    fail(ErrorCode::kUsage, "{}: rope.scaling: expected another than dynamic for 2 columns, got dynamic", where);
  if (rope.theta <= 1.0)
    fail(ErrorCode::kUsage, "{}: rope.theta: expected above 1, got {}", where, rope.theta);
}

}  // namespace

void check(const ModelConfig& config, const std::string& where) {
  if (config.head_dim == 0 && config.d_model % config.num_heads != 0)
    fail(ErrorCode::kUsage, "{}: num_heads: expected a divisor of d_model ({}), got {}", where, config.d_model,
         config.num_heads);
  if (config.num_heads % config.num_kv_heads() != 0)
    fail(ErrorCode::kUsage, "{}: kv_heads: expected a divisor of num_heads ({}), got {}", where, config.num_heads,
         config.kv_heads);
  check_size(config, where);
  if (config.positions == Positions::kRotary) check(config.rope, config, where);
  if (config.norm_place == NormPlace::kAfter && config.residual_multiplier != 1.0)
    fail(ErrorCode::kUsage, "{}: residual_multiplier: expected 1 with norm_place after, got {} (the norm would undo it)",
         where, config.residual_multiplier);
  if (config.norm_place == NormPlace::kAfter && config.parallel_block)
    fail(ErrorCode::kUsage, "{}: parallel_block: expected false with norm_place after, got true", where);
  if (config.shared_norm && !config.parallel_block)
    fail(ErrorCode::kUsage, "{}: shared_norm: expected false without parallel_block, got true", where);
  if (config.positions == Positions::kSinusoidal && config.d_model < 4)
    fail(ErrorCode::kUsage, "{}: d_model: expected at least 4 with sinusoidal positions, got {}", where,
         config.d_model);
  if (config.pad_id >= config.vocab_size)
    fail(ErrorCode::kUsage, "{}: pad_id: expected an id below vocab_size ({}), got {}", where, config.vocab_size,
         config.pad_id);
  if (config.eos_id >= config.vocab_size)
    fail(ErrorCode::kUsage, "{}: eos_id: expected an id below vocab_size ({}), got {}", where, config.vocab_size,
         config.eos_id);
  if (config.pad_id >= 0 && config.pad_id == config.eos_id)
    fail(ErrorCode::kUsage, "{}: pad_id: expected another id than eos_id, got {} for both (no end would be learned)",
         where, config.pad_id);
  if (config.moe.pad_mask && config.pad_id < 0)
    fail(ErrorCode::kUsage, "{}: moe.pad_mask: expected a pad_id, got -1 (there is nothing to mask)", where);
  if (config.moe.num_experts > 0) check(config.moe, config.num_layers, where);
}

}  // namespace troupe
