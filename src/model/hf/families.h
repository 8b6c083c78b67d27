// Families of models on the Hugging Face hub: one row each, which says how its config.json is facts of ModelConfig and
// how its tensors are parameters of ours. To add a family, add its function and its row in families.cpp.
#pragma once

#include <span>
#include <string_view>

#include "model/hf/hf_config.h"

namespace troupe {

// How a parameter of ours lies in a tensor of theirs.
enum class HfLayout {
  kSame,
  kTransposed,  // [in, out] (GPT-2's Conv1D)
  kThird,       // a third of the columns of [in, 3 out] (q, k or v of GPT-2), or of a bias [3 out]
  kHeadThird,   // of each head's rows [q, k, v] a third (GPT-NeoX)
  kRowThird,    // a third of the rows: q above k above v (GGUF's GPT-2)
  kAbove,       // rows of one tensor above those of another (gate above up)
  kSlab,        // one expert of [E, ...] (Granite)
  kPositions,   // a table without our two first rows
};

// Beginnings of names, up to "weight" or "bias"; {} is the number of an expert.
struct HfName {
  std::string_view ours, theirs;
  HfLayout layout = HfLayout::kSame;
  int64_t third = 0;             // kThird, kHeadThird, kRowThird: which
  std::string_view second = {};  // kAbove: the lower tensor
};

struct HfFamily {
  std::string_view model_type, architecture;
  void (*facts)(HfConfig&, ModelConfig&);  // reads or writes
  std::string_view base;                   // prefix that files of the bare model lack: "model."
  std::string_view layers;                 // prefix of a layer's names, before its number
  std::span<const HfName> names;           // "embed_tokens.", ... of the whole model
  std::span<const HfName> layer_names;     // ".attn.q_proj.", ... of a layer
  std::span<const HfName> more_names = {};  // of a layer, too
  std::string_view experts = {};  // module with gate_up_proj and down_proj of all experts, as transformers 5 has it
  std::string_view router = {};   // module whose weight is the router's, as transformers 5 has it
  bool ours = false;              // transformers has no class for it
};

std::span<const HfFamily> hf_families();

// The row of a config.json's model_type; throws kData naming those there are, and for some what they would need.
const HfFamily& hf_family(const HfConfig& config);

}  // namespace troupe
