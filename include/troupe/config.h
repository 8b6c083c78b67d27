// What a model is: sizes, variants and routing. Semantics: docs/formats/model.md and docs/routing.md, after
// fairseq's transformer_lm (branch moe) and GShard/Switch gating.
#pragma once

#include <cstdint>
#include <string>

#include "troupe/fields.h"

namespace troupe {

enum class Positions { kSinusoidal, kLearned };
template <>
struct EnumNames<Positions> {
  static constexpr std::array<std::pair<std::string_view, Positions>, 2> values = {
      {{"sinusoidal", Positions::kSinusoidal}, {"learned", Positions::kLearned}}};
};

enum class Gelu { kErf, kTanh };
template <>
struct EnumNames<Gelu> {
  static constexpr std::array<std::pair<std::string_view, Gelu>, 2> values = {
      {{"erf", Gelu::kErf}, {"tanh", Gelu::kTanh}}};
};

enum class SecondChoice { kAll, kSampling, kRandom };
template <>
struct EnumNames<SecondChoice> {
  static constexpr std::array<std::pair<std::string_view, SecondChoice>, 3> values = {
      {{"all", SecondChoice::kAll}, {"sampling", SecondChoice::kSampling}, {"random", SecondChoice::kRandom}}};
};

// When the weights of a token's choices are divided by their sum: after dropped choices are zeroed (fairseq's default),
// before, or never (Switch's top-1: the raw probability).
enum class Normalize { kAfterDropping, kBeforeDropping, kNever };
template <>
struct EnumNames<Normalize> {
  static constexpr std::array<std::pair<std::string_view, Normalize>, 3> values = {
      {{"after_dropping", Normalize::kAfterDropping},
       {"before_dropping", Normalize::kBeforeDropping},
       {"never", Normalize::kNever}}};
};

// Places per expert in a routing group of S tokens. fairseq: 2*ceil(S/E) in training (top-1: factor*ceil(S/E)).
enum class Capacity { kDropless, kFairseq };
template <>
struct EnumNames<Capacity> {
  static constexpr std::array<std::pair<std::string_view, Capacity>, 2> values = {
      {{"dropless", Capacity::kDropless}, {"fairseq", Capacity::kFairseq}}};
};

enum class AuxCombine { kSum, kAverage };
template <>
struct EnumNames<AuxCombine> {
  static constexpr std::array<std::pair<std::string_view, AuxCombine>, 2> values = {
      {{"sum", AuxCombine::kSum}, {"average", AuxCombine::kAverage}}};
};

inline constexpr int64_t kMaxTopK = 64;  // a bound on time: choosing costs E K^2 a token, and no array has this length

struct MoeConfig {
  int64_t num_experts = 0;
  int64_t every = 2;
  int64_t top_k = 2;
  int64_t expert_d_ff = 0;
  Capacity capacity = Capacity::kDropless;
  double capacity_factor = 1.0;
  double eval_capacity_fraction = 0.25;
  SecondChoice second_choice = SecondChoice::kAll;
  Normalize normalize = Normalize::kAfterDropping;
  bool batch_prioritized = false;
  bool pad_mask = false;
  double aux_loss_weight = 0.01;
  AuxCombine aux_combine = AuxCombine::kSum;
  int64_t group_sequences = 0;

  template <class V>
  void fields(V& v) {
    v("num_experts", num_experts, range(0, 65536), "E, experts per MoE layer; 0 makes the model dense");
    v("every", every, range(1, 4096), "layer i (from 0) is MoE if (i + 1) is a multiple of this");
    v("top_k", top_k, range(1, kMaxTopK), "K, experts per token");
    v("expert_d_ff", expert_d_ff, range(0, 1 << 24), "FFN width of one expert; 0 means model.d_ff");
    v("capacity", capacity, any_value(), "dropless, or fairseq's places per expert (over-full choices are dropped)");
    v("capacity_factor", capacity_factor, range(0, 65536), "top-1 with fairseq capacity: factor on ceil(S/E)");
    v("eval_capacity_fraction", eval_capacity_fraction, range(-1, 65536),
      "fairseq capacity in evaluation: ceil(fraction * S); <= 0 means the training rule");
    v("second_choice", second_choice, any_value(), "policy of the second expert under top-2");
    v("normalize", normalize, any_value(), "when the weights of a token's choices are made to sum to 1");
    v("batch_prioritized", batch_prioritized, any_value(), "places go to tokens by descending top probability");
    v("pad_mask", pad_mask, any_value(), "keep padding tokens out of the routing masks (they still count in S)");
    v("aux_loss_weight", aux_loss_weight, range(0, 1e6), "weight of the load-balancing loss per token");
    v("aux_combine", aux_combine, any_value(), "balance losses of the layers are summed or averaged");
    v("group_sequences", group_sequences, range(0, 1 << 24),
      "sequences in one routing group (balance loss, capacity); 0 means the whole micro-batch");
  }
};

struct ModelConfig {
  int64_t num_layers = 4;
  int64_t d_model = 192;
  int64_t num_heads = 4;
  int64_t d_ff = 768;
  int64_t vocab_size = 4096;
  int64_t context = 256;
  Positions positions = Positions::kSinusoidal;
  Gelu gelu = Gelu::kErf;
  bool scale_embedding = true;
  double dropout = 0.0;
  double attention_dropout = 0.0;
  int64_t pad_id = -1;
  int64_t eos_id = 0;
  MoeConfig moe;

  bool is_moe_layer(int64_t layer) const { return moe.num_experts > 0 && (layer + 1) % moe.every == 0; }
  int64_t num_moe_layers() const { return moe.num_experts > 0 ? num_layers / moe.every : 0; }
  int64_t expert_d_ff() const { return moe.expert_d_ff > 0 ? moe.expert_d_ff : d_ff; }
  int64_t head_dim() const { return d_model / num_heads; }

  template <class V>
  void fields(V& v) {
    v("num_layers", num_layers, range(1, 4096), "transformer layers");
    v("d_model", d_model, range(1, 1 << 20), "D, model width");
    v("num_heads", num_heads, range(1, 4096), "H, attention heads; divides d_model");
    v("d_ff", d_ff, range(1, 1 << 24), "F, feed-forward width");
    v("vocab_size", vocab_size, range(1, 1 << 24), "V, embedding rows");
    v("context", context, range(1, 1 << 24), "S, longest sequence in training");
    v("positions", positions, any_value(), "position embeddings");
    v("gelu", gelu, any_value(), "erf (exact) or its tanh approximation");
    v("scale_embedding", scale_embedding, any_value(), "multiply token embeddings by sqrt(d_model)");
    v("dropout", dropout, range(0, 0.999), "on the embedding sum, attention output and FFN output");
    v("attention_dropout", attention_dropout, range(0, 0.999), "on attention weights");
    v("pad_id", pad_id, range(-1, (1 << 24) - 1), "padding token, never predicted nor attended to; -1 if there is none");
    v("eos_id", eos_id, range(-1, (1 << 24) - 1), "token that ends a document and stands before the first; -1 if there is none");
    v("moe", moe);
  }
};

// Rules across fields; throws kUsage with `where: field: expected ..., got ...`.
void check(const ModelConfig& config, const std::string& where);

}  // namespace troupe
