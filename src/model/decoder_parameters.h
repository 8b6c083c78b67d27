// Which parameters a decoder has, in which order and with which initial distribution: the one place that spells their
// names. Blocks get slots.
#pragma once

#include <variant>
#include <vector>

#include "nn/attention_block.h"
#include "nn/ffn_block.h"
#include "nn/moe/moe_block.h"
#include "nn/parameters.h"
#include "troupe/config.h"

namespace troupe {

// Rows of the position table: a sequence's first token has the third (fairseq: padding_idx + 1), padding the second.
constexpr int64_t kFirstPosition = 2, kPadPosition = 1;
inline int64_t num_position_rows(const ModelConfig& config) { return config.context + kFirstPosition; }

struct LayerSlots {
  AttentionSlots attention;
  std::variant<FfnSlots, MoeSlots> feed_forward;
};

struct DecoderSlots {
  Slot embed_tokens;
  Slot output;           // the output layer's weight; embed_tokens if it is tied
  Slot output_bias;      // may be empty: there is none
  Slot embed_positions;  // empty unless they are learned
  std::vector<LayerSlots> layers;
  NormSlots final_norm;
};

struct DecoderParameters {
  ParameterTable table;
  DecoderSlots slots;
};

DecoderParameters make_decoder_parameters(const ModelConfig& config);
inline ParameterTable make_parameter_table(const ModelConfig& config) { return make_decoder_parameters(config).table; }

// Whether it is of a router: its matrix, or the biases that balance it.
bool is_router(const Parameter& parameter);

// Parameters that one token passes through: all but the experts it is not sent to.
int64_t num_active_parameters(const ModelConfig& config);

}  // namespace troupe
