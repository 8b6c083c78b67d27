#include "model/hf/shared_settings.h"

#include <nlohmann/json.hpp>

#include "troupe/config.h"

namespace troupe::shared_settings {

using nlohmann::ordered_json;

void sizes(HfConfig& hf, ModelConfig& c, const char* width, const char* layers, const char* heads) {
  hf("vocab_size", c.vocab_size);
  hf(width, c.d_model);
  hf(layers, c.num_layers);
  hf(heads, c.num_heads);
  if (c.num_heads < 1) hf.refuse(heads, "at least 1", c.num_heads);
  hf.ignore({"architectures", "model_type", "dtype", "torch_dtype", "transformers_version", "initializer_range",
             "init_std", "use_cache", "bos_token_id", "pad_token_id", "decoder_start_token_id", "is_decoder",
             "classifier_dropout", "layerdrop", "activation_dropout", "output_router_logits", "router_jitter_noise",
             "pretraining_tp", "prefix", "_name_or_path", "_model_name_or_path", "_attn_implementation_autoset",
             "task_specific_params", "unk_token_id", "auto_map", "summary_activation", "summary_first_dropout",
             "summary_proj_to_labels", "summary_type", "summary_use_proj", "reorder_and_upcast_attn", "n_ctx",
             "max_window_layers", "sliding_window", "layer_types", "generation_config", "mscale", "unsloth_version",
             "unsloth_fixed"});
  hf.require("quantization_config", nullptr, "quantised weights of this form");
  hf.require("add_cross_attention", false, "attention to another text");
}

void end_of_text(HfConfig& hf, ModelConfig& c) {
  if (hf.writes()) {
    hf.set("eos_token_id", c.eos_id >= 0 ? ordered_json(c.eos_id) : ordered_json(nullptr));
    hf.set("pad_token_id", c.pad_id >= 0 ? ordered_json(c.pad_id) : ordered_json(nullptr));
    return;
  }
  const ordered_json& eos = hf.at("eos_token_id");
  const ordered_json& first = eos.is_array() && !eos.empty() ? eos.front() : eos;
  if (!first.is_null() && !first.is_number_integer()) hf.refuse("eos_token_id", "an id or a list of ids", eos);
  c.eos_id = first.is_null() ? -1 : first.get<int64_t>();
  if (c.eos_id >= c.vocab_size) c.eos_id = -1;
  c.pad_id = -1;  // padding is an ordinary token there, which a mask hides
}

void fairseq_padding(HfConfig& hf, ModelConfig& c) {
  if (hf.writes()) return;
  const ordered_json& pad = hf.at("pad_token_id");
  if (pad.is_number_integer() && pad != c.eos_id && pad < c.vocab_size) c.pad_id = pad.get<int64_t>();
}

void heads(HfConfig& hf, ModelConfig& c, int64_t usual_kv, int64_t usual_width) {
  if (hf.writes()) c.kv_heads = c.num_kv_heads(), c.head_dim = c.head_width();
  const auto usual = [&](const char* key, int64_t absent, int64_t null) {
    return absent > 0 && !hf.object().contains(key) ? absent : null;
  };
  hf("num_key_value_heads", c.kv_heads, usual("num_key_value_heads", usual_kv, c.num_heads));
  hf("head_dim", c.head_dim, usual("head_dim", usual_width, c.d_model / c.num_heads));
}

bool window_by_layers(HfConfig& hf, ModelConfig& c, int64_t window) {
  const ordered_json& types = hf.at("layer_types");
  if (!types.is_array()) return false;
  int64_t full = 0;
  for (const ordered_json& type : types) {
    if (type != "full_attention" && type != "sliding_attention")
      hf.refuse("layer_types", "full_attention and sliding_attention alone", type);
    const bool is_full = type == "full_attention";
    if (is_full && full < static_cast<int64_t>(&type - &types.front()))
      hf.refuse("layer_types", "full attention in the first layers and a window in all others", types);
    full += is_full;
  }
  const bool any = full < static_cast<int64_t>(types.size());
  c.window = any ? window : 0;
  c.window_from = any ? full : 0;
  return true;
}

void window_of_all(HfConfig& hf, ModelConfig& c, int64_t usual) {
  if (hf.writes()) {
    hf.set("sliding_window", c.window > 0 ? ordered_json(c.window) : ordered_json(nullptr));
    return;
  }
  const bool absent = !hf.object().contains("sliding_window");
  c.window_from = 0;
  hf("sliding_window", c.window, absent ? usual : 0);
}

void window_from_a_layer(HfConfig& hf, ModelConfig& c) {
  bool uses = c.window > 0;
  hf("use_sliding_window", uses, false);
  if (hf.writes()) {
    if (uses) hf.set("sliding_window", c.window), hf.set("max_window_layers", c.window_from);
    return;
  }
  c.window = c.window_from = 0;
  int64_t window = 4096, from = 28;
  hf("sliding_window", window, window);
  hf("max_window_layers", from, from);
  if (window_by_layers(hf, c, window) || !uses) return;
  if (from < c.num_layers) c.window = window, c.window_from = from;
}

void no_window(HfConfig& hf, ModelConfig& c) {
  if (!hf.writes()) c.window = c.window_from = 0;
}

void llama_like(HfConfig& hf, ModelConfig& c, double usual_epsilon, int64_t usual_context) {
  sizes(hf, c);
  if (!hf.writes()) {
    c.norm = Norm::kRms, c.scale_embedding = false, c.ffn_gated = true;
    c.qkv_bias = c.out_bias = c.ffn_bias = false;
  }
  hf("intermediate_size", c.d_ff);
  hf("max_position_embeddings", c.context, usual_context);
  hf("rms_norm_eps", c.norm_epsilon, usual_epsilon);
  hf.activation("hidden_act", c, "silu");
  hf("tie_word_embeddings", c.tied_output, false);
  hf("attention_dropout", c.attention_dropout, 0.0);
  end_of_text(hf, c);
}

void attention_bias(HfConfig& hf, ModelConfig& c) {
  hf("attention_bias", c.qkv_bias, false);
  if (!hf.writes()) c.out_bias = c.qkv_bias;
}

}  // namespace troupe::shared_settings
