// Settings of config.json that several families share. Each reads or writes, as the function of a family does.
#pragma once

#include <cstdint>

#include "model/hf/hf_config.h"

namespace troupe::shared_settings {

void sizes(HfConfig& hf, ModelConfig& c, const char* width = "hidden_size", const char* layers = "num_hidden_layers",
           const char* heads = "num_attention_heads");
void end_of_text(HfConfig& hf, ModelConfig& c);

// With fairseq's dictionary, padding is an id of its own.
void fairseq_padding(HfConfig& hf, ModelConfig& c);

// Null: as many as queries have. Absent: what the family's releases mean by that, `usual` (0: the same).
void heads(HfConfig& hf, ModelConfig& c, int64_t usual_kv = 0, int64_t usual_width = 0);

// Layers with a sliding window by their types, where the file has them.
bool window_by_layers(HfConfig& hf, ModelConfig& c, int64_t window);

// A window of all layers, as Mistral has it: null is none, absent is the usual one.
void window_of_all(HfConfig& hf, ModelConfig& c, int64_t usual);

// A window from some layer on, as Qwen 2 and 3 have it.
void window_from_a_layer(HfConfig& hf, ModelConfig& c);

// Families without one.
void no_window(HfConfig& hf, ModelConfig& c);

// What Llama, its relatives and their sparse kin share.
void llama_like(HfConfig& hf, ModelConfig& c, double usual_epsilon, int64_t usual_context);

// Biases of all four products of attention, or of none.
void attention_bias(HfConfig& hf, ModelConfig& c);

}  // namespace troupe::shared_settings
