// What a decoder is: facts that are independent of each other, sizes and routing. Semantics: docs/formats/model.md and
// docs/routing.md. The defaults are fairseq's transformer_lm (branch moe) with GShard/Switch gating; a family of models
// is a choice of these facts (model/hf/families.cpp).
#pragma once

#include <cstdint>
#include <string>

#include "troupe/fields.h"

namespace troupe {

enum class Positions { kSinusoidal, kLearned, kRotary };
template <>
struct EnumNames<Positions> {
  static constexpr std::array<std::pair<std::string_view, Positions>, 3> values = {
      {{"sinusoidal", Positions::kSinusoidal}, {"learned", Positions::kLearned}, {"rotary", Positions::kRotary}}};
};

// How rotary frequencies are changed for contexts longer than the original one (ops/rotary.cpp has the formulas).
enum class RopeScaling { kNone, kLinear, kDynamic, kLlama3, kYarn };
template <>
struct EnumNames<RopeScaling> {
  static constexpr std::array<std::pair<std::string_view, RopeScaling>, 5> values = {
      {{"none", RopeScaling::kNone},
       {"linear", RopeScaling::kLinear},
       {"dynamic", RopeScaling::kDynamic},
       {"llama3", RopeScaling::kLlama3},
       {"yarn", RopeScaling::kYarn}}};
};

enum class Norm { kLayer, kRms };
template <>
struct EnumNames<Norm> {
  static constexpr std::array<std::pair<std::string_view, Norm>, 2> values = {
      {{"layer", Norm::kLayer}, {"rms", Norm::kRms}}};
};

// x + f(norm(x)), or x + norm(f(x)).
enum class NormPlace { kBefore, kAfter };
template <>
struct EnumNames<NormPlace> {
  static constexpr std::array<std::pair<std::string_view, NormPlace>, 2> values = {
      {{"before", NormPlace::kBefore}, {"after", NormPlace::kAfter}}};
};

// RMSNorm of queries and keys before they turn: of every head by itself, or of all heads as one row.
enum class QkNorm { kNone, kHead, kWhole };
template <>
struct EnumNames<QkNorm> {
  static constexpr std::array<std::pair<std::string_view, QkNorm>, 3> values = {
      {{"none", QkNorm::kNone}, {"head", QkNorm::kHead}, {"whole", QkNorm::kWhole}}};
};

// Of the feed-forward network; which gelu is a fact of its own.
enum class FfnActivation { kGelu, kRelu, kSilu, kRelu2 };
template <>
struct EnumNames<FfnActivation> {
  static constexpr std::array<std::pair<std::string_view, FfnActivation>, 4> values = {
      {{"gelu", FfnActivation::kGelu},
       {"relu", FfnActivation::kRelu},
       {"silu", FfnActivation::kSilu},
       {"relu2", FfnActivation::kRelu2}}};
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

// Who chooses whom (ops/route/policy.h).
enum class RouterKind { kTopK, kHash, kExpertChoice };
template <>
struct EnumNames<RouterKind> {
  static constexpr std::array<std::pair<std::string_view, RouterKind>, 3> values = {
      {{"top_k", RouterKind::kTopK}, {"hash", RouterKind::kHash}, {"expert_choice", RouterKind::kExpertChoice}}};
};

// What a token's logits become: a softmax over experts, or each expert's own sigmoid (DeepSeek-V3).
enum class RouterScore { kSoftmax, kSigmoid };
template <>
struct EnumNames<RouterScore> {
  static constexpr std::array<std::pair<std::string_view, RouterScore>, 2> values = {
      {{"softmax", RouterScore::kSoftmax}, {"sigmoid", RouterScore::kSigmoid}}};
};

// The choices whose shares the balance loss evens out.
enum class BalanceChoices { kFirst, kAll };
template <>
struct EnumNames<BalanceChoices> {
  static constexpr std::array<std::pair<std::string_view, BalanceChoices>, 2> values = {
      {{"first", BalanceChoices::kFirst}, {"all", BalanceChoices::kAll}}};
};

// Over what those shares are taken: a routing group, or with it all micro-batches before it in the update.
enum class BalanceOver { kGroup, kUpdate };
template <>
struct EnumNames<BalanceOver> {
  static constexpr std::array<std::pair<std::string_view, BalanceOver>, 2> values = {
      {{"group", BalanceOver::kGroup}, {"update", BalanceOver::kUpdate}}};
};

// The type of what the router multiplies; sums and what follows are float32 with either.
enum class RouterOperand { kFp32, kModel };
template <>
struct EnumNames<RouterOperand> {
  static constexpr std::array<std::pair<std::string_view, RouterOperand>, 2> values = {
      {{"fp32", RouterOperand::kFp32}, {"model", RouterOperand::kModel}}};
};

inline constexpr int64_t kMaxTopK = 64;  // a bound on time: choosing costs E K^2 a token, and no array has this length

struct MoeConfig {
  int64_t num_experts = 0;
  int64_t every = 2;
  int64_t first_layer = 0;
  int64_t top_k = 2;
  int64_t expert_d_ff = 0;
  int64_t shared_d_ff = 0;
  bool shared_gate = false;
  Capacity capacity = Capacity::kDropless;
  double capacity_factor = 1.0;
  double eval_capacity_fraction = 0.25;
  SecondChoice second_choice = SecondChoice::kAll;
  Normalize normalize = Normalize::kAfterDropping;
  bool batch_prioritized = false;
  bool pad_mask = false;
  RouterKind router = RouterKind::kTopK;
  RouterScore score = RouterScore::kSoftmax;
  bool balance_bias = false;
  double bias_rate = 0.001;
  int64_t groups = 1;
  int64_t groups_kept = 1;
  double output_scale = 1.0;
  bool chance_in_eval = false;
  double input_jitter = 0.0;
  RouterOperand router_precision = RouterOperand::kFp32;
  double aux_loss_weight = 0.01;
  double router_z_loss = 0.0;
  AuxCombine aux_combine = AuxCombine::kSum;
  BalanceChoices balance_choices = BalanceChoices::kFirst;
  BalanceOver balance_over = BalanceOver::kGroup;
  int64_t group_sequences = 0;
  double expert_dropout = -1.0;

  bool has_router() const { return router != RouterKind::kHash; }  // one that learns

  template <class V>
  void fields(V& v) {
    v("num_experts", num_experts, range(0, 65536), "E, experts per MoE layer; 0 makes the model dense");
    v("every", every, range(1, 4096), "layer i (from 0) is MoE if (i + 1) is a multiple of this");
    v("first_layer", first_layer, range(0, 4096), "layers before this one are dense");
    v("top_k", top_k, range(1, kMaxTopK), "K, experts per token");
    v("expert_d_ff", expert_d_ff, range(0, 1 << 24), "FFN width of one expert; 0 means model.d_ff");
    v("shared_d_ff", shared_d_ff, range(0, 1 << 24), "FFN width of an expert that every token passes; 0 means there is none");
    v("shared_gate", shared_gate, any_value(), "its output is multiplied by sigmoid(w . x)");
    v("capacity", capacity, any_value(), "dropless, or fairseq's places per expert (over-full choices are dropped)");
    v("capacity_factor", capacity_factor, range(0, 65536), "top-1 with fairseq capacity: factor on ceil(S/E)");
    v("eval_capacity_fraction", eval_capacity_fraction, range(-1, 65536),
      "fairseq capacity in evaluation: ceil(fraction * S); <= 0 means the training rule");
    v("second_choice", second_choice, any_value(), "policy of the second expert under top-2");
    v("normalize", normalize, any_value(), "when the weights of a token's choices are made to sum to 1");
    v("batch_prioritized", batch_prioritized, any_value(), "places go to tokens by descending top probability");
    v("pad_mask", pad_mask, any_value(), "keep padding tokens out of the routing masks (they still count in S)");
    v("router", router, any_value(),
      "who chooses: tokens their best experts, a hash of a token's id, or experts their best tokens (not causal)");
    v("score", score, any_value(), "of experts for a token: softmax over all, or a sigmoid for each");
    v("balance_bias", balance_bias, any_value(),
      "choices go by score + bias, and the biases even out the load in place of a loss");
    v("bias_rate", bias_rate, range(0, 1e3), "step of a bias after every update, up or down; 0: biases stay");
    v("groups", groups, range(1, 65536), "groups of experts; a token first chooses groups_kept of them");
    v("groups_kept", groups_kept, range(1, 65536), "groups by the sum of their two best scores");
    v("output_scale", output_scale, range(1e-6, 1e6), "factor on the weights of a token's choices");
    v("chance_in_eval", chance_in_eval, any_value(),
      "second_choice sampling or random also in evaluation, as fairseq does");
    v("input_jitter", input_jitter, range(0, 1),
      "in training the router's inputs are multiplied by 1 - this to 1 + this, evenly drawn");
    v("router_precision", router_precision, any_value(),
      "what the router multiplies: float32, or the model's operands as fairseq");
    v("aux_loss_weight", aux_loss_weight, range(0, 1e6), "weight of the load-balancing loss per token");
    v("router_z_loss", router_z_loss, range(0, 1e6),
      "weight per token of (log of the sum of exp(router logits))^2, which keeps them small; 0: none");
    v("aux_combine", aux_combine, any_value(), "balance losses of the layers are summed or averaged");
    v("balance_choices", balance_choices, any_value(), "choices that the balance loss counts");
    v("balance_over", balance_over, any_value(),
      "it counts those of a routing group, or with them all before in the update");
    v("group_sequences", group_sequences, range(0, 1 << 24),
      "sequences in one routing group (balance loss, capacity); 0 means the whole micro-batch");
    v("expert_dropout", expert_dropout, range(-1, 0.999),
      "dropout on what every expert gives for a token, before the weights; below 0 means model.dropout");
  }
};

struct RopeConfig {
  double theta = 10000.0;
  double part = 1.0;
  RopeScaling scaling = RopeScaling::kNone;
  double factor = 1.0;
  int64_t original_context = 0;
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;
  double beta_fast = 32.0;
  double beta_slow = 1.0;
  double attention_factor = 0.0;
  bool truncate = true;

  template <class V>
  void fields(V& v) {
    v("theta", theta, range(1, 1e12), "base of the wave lengths");
    v("part", part, range(0, 1), "share of a head's columns that turn");
    v("scaling", scaling, any_value(), "how frequencies change for contexts longer than the original one");
    v("factor", factor, range(1, 1e6), "longest context over the original one (linear, dynamic, llama3, yarn)");
    v("original_context", original_context, range(0, 1 << 24),
      "context before scaling (llama3, yarn, dynamic); 0 means model.context");
    v("low_freq_factor", low_freq_factor, range(1e-6, 1e6),
      "llama3: waves longer than original_context over this scale");
    v("high_freq_factor", high_freq_factor, range(1e-6, 1e6),
      "llama3: waves shorter than original_context over this stay");
    v("beta_fast", beta_fast, range(1e-6, 1e6), "yarn: columns with more turns than this stay");
    v("beta_slow", beta_slow, range(1e-6, 1e6), "yarn: columns with fewer turns than this scale");
    v("attention_factor", attention_factor, range(0, 1e3),
      "yarn: factor on queries and keys; 0 means 0.1 ln(factor) + 1");
    v("truncate", truncate, any_value(), "yarn: the ramp between the two begins and ends at whole columns");
  }
};

// Initial values. Which names they are of: model/decoder_parameters.cpp.
enum class InitKind { kFairseq, kNormal };
template <>
struct EnumNames<InitKind> {
  static constexpr std::array<std::pair<std::string_view, InitKind>, 2> values = {
      {{"fairseq", InitKind::kFairseq}, {"normal", InitKind::kNormal}}};
};

struct InitConfig {
  InitKind kind = InitKind::kFairseq;
  double std = 0.02;
  double embedding_std = 0.0;
  bool zero_outputs = false;

  template <class V>
  void fields(V& v) {
    v("kind", kind, any_value(),
      "of the matrices and biases of layers: fairseq's uniform ranges by their widths; or normal matrices and no "
      "biases");
    v("std", std, range(0, 1e3), "normal: standard deviation of the matrices");
    v("embedding_std", embedding_std, range(0, 1e3),
      "standard deviation of embeddings and of an output matrix; 0 means 1 / sqrt(d_model)");
    v("zero_outputs", zero_outputs, any_value(),
      "the last matrix and bias of attention, of the feed-forward network and of experts start at 0");
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
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t window = 0;
  int64_t window_from = 0;
  QkNorm qk_norm = QkNorm::kNone;
  bool qkv_bias = true;
  bool out_bias = true;
  Norm norm = Norm::kLayer;
  double norm_epsilon = 1e-5;
  bool norm_bias = true;
  NormPlace norm_place = NormPlace::kBefore;
  FfnActivation activation = FfnActivation::kGelu;
  bool ffn_gated = false;
  bool ffn_bias = true;
  bool parallel_block = false;
  bool shared_norm = false;
  bool tied_output = true;
  bool output_bias = false;
  double embedding_multiplier = 1.0;
  double residual_multiplier = 1.0;
  double attention_multiplier = 0.0;
  double logit_divisor = 1.0;
  double logit_cap = 0.0;
  double dropout = 0.0;
  double attention_dropout = 0.0;
  int64_t pad_id = -1;
  int64_t eos_id = 0;
  RopeConfig rope;
  InitConfig init;
  MoeConfig moe;

  bool is_moe_layer(int64_t layer) const {
    return moe.num_experts > 0 && layer >= moe.first_layer && (layer + 1) % moe.every == 0;
  }
  int64_t num_moe_layers() const {
    int64_t count = 0;
    for (int64_t layer = 0; layer < num_layers; ++layer) count += is_moe_layer(layer);
    return count;
  }
  int64_t expert_d_ff() const { return moe.expert_d_ff > 0 ? moe.expert_d_ff : d_ff; }
  int64_t head_width() const { return head_dim > 0 ? head_dim : d_model / num_heads; }
  int64_t num_kv_heads() const { return kv_heads > 0 ? kv_heads : num_heads; }
  int64_t query_width() const { return num_heads * head_width(); }
  int64_t kv_width() const { return num_kv_heads() * head_width(); }
  int64_t rotary_width() const {  // columns of a head that turn
    if (positions != Positions::kRotary) return 0;
    return static_cast<int64_t>(static_cast<double>(head_width()) * rope.part) / 2 * 2;
  }
  int64_t window_of(int64_t layer) const { return layer >= window_from ? window : 0; }

  template <class V>
  void fields(V& v) {
    v("num_layers", num_layers, range(1, 4096), "transformer layers");
    v("d_model", d_model, range(1, 1 << 20), "D, model width");
    v("num_heads", num_heads, range(1, 4096), "H, attention heads; divides d_model unless head_dim is given");
    v("d_ff", d_ff, range(1, 1 << 24), "F, feed-forward width");
    v("vocab_size", vocab_size, range(1, 1 << 24), "V, embedding rows");
    v("context", context, range(1, 1 << 24), "S, longest sequence in training");
    v("positions", positions, any_value(), "position embeddings added to tokens, or rotary: queries and keys turn");
    v("gelu", gelu, any_value(), "erf (exact) or its tanh approximation");
    v("scale_embedding", scale_embedding, any_value(), "multiply token embeddings by sqrt(d_model)");
    v("kv_heads", kv_heads, range(0, 4096), "G, heads of keys and values, which divides num_heads; 0 means num_heads");
    v("head_dim", head_dim, range(0, 1 << 16), "C, width of a head; 0 means d_model / num_heads");
    v("window", window, range(0, 1 << 24), "a token sees this many tokens, itself included; 0 means all before it");
    v("window_from", window_from, range(0, 4096), "first layer with the window");
    v("qk_norm", qk_norm, any_value(), "RMSNorm of queries and keys: of each head, or of the whole");
    v("qkv_bias", qkv_bias, any_value(), "biases of queries, keys and values");
    v("out_bias", out_bias, any_value(), "bias of attention's output");
    v("norm", norm, any_value(), "LayerNorm or RMSNorm");
    v("norm_epsilon", norm_epsilon, range(0, 1), "added to the variance in every norm");
    v("norm_bias", norm_bias, any_value(), "biases of LayerNorm; RMSNorm has none");
    v("norm_place", norm_place, any_value(), "x + f(norm(x)), or after: x + norm(f(x))");
    v("activation", activation, any_value(), "of the feed-forward network; model.gelu says which gelu");
    v("ffn_gated", ffn_gated, any_value(), "fc2(f(gate(x)) * up(x)) in place of fc2(f(fc1(x)))");
    v("ffn_bias", ffn_bias, any_value(), "biases of the feed-forward network and of experts");
    v("parallel_block", parallel_block, any_value(),
      "the feed-forward network reads the layer's input, as attention does");
    v("shared_norm", shared_norm, any_value(), "parallel blocks: both read one norm of it, that of attention");
    v("tied_output", tied_output, any_value(), "the output matrix is the token embedding");
    v("output_bias", output_bias, any_value(), "bias of the logits, one for every token of the vocabulary");
    v("embedding_multiplier", embedding_multiplier, range(1e-6, 1e6), "factor on token embeddings");
    v("residual_multiplier", residual_multiplier, range(1e-6, 1e6), "factor on what attention and FFN add");
    v("attention_multiplier", attention_multiplier, range(0, 1e6),
      "factor on attention logits; 0 means 1 / sqrt(head_dim)");
    v("logit_divisor", logit_divisor, range(1e-6, 1e6), "logits are divided by this");
    v("logit_cap", logit_cap, range(0, 1e6), "logits are at most this: cap * tanh(logits / cap); 0: no cap");
    v("dropout", dropout, range(0, 0.999), "on the embedding sum, attention output and FFN output");
    v("attention_dropout", attention_dropout, range(0, 0.999), "on attention weights");
    v("pad_id", pad_id, range(-1, (1 << 24) - 1),
      "padding token, never predicted nor attended to; -1 if there is none");
    v("eos_id", eos_id, range(-1, (1 << 24) - 1),
      "token that ends a document and stands before the first; -1 if there is none");
    v("rope", rope);
    v("init", init);
    v("moe", moe);
  }
};

// Rules across fields; throws kUsage with `where: field: expected ..., got ...`.
void check(const ModelConfig& config, const std::string& where);

}  // namespace troupe
