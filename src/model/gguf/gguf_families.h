// Architectures of GGUF files: one row each, which says what family of Hugging Face (model/hf/families.h) it is. The
// settings and tensors of a file are those of that family under other names.
#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/gguf.h"
#include "model/hf/hf_model.h"

namespace troupe {

inline constexpr const char* kGgufEndOfText = "tokenizer.ggml.eos_token_id";

struct GgufFamily {
  std::string_view architecture;  // general.architecture
  std::string_view model_type;    // of a config.json
  bool sparse = false;            // with experts; `llama` has two rows
  bool pairs = false;             // rows of q and k are in the order of rotary pairs of neighbours
  bool norm_topk_prob = false;    // what llama.cpp does for it; where the family has the setting
  bool partly_rotary = false;     // rope.dimension_count is a part of a head
  bool own_output = false;        // llama.cpp wants an output layer that is not the token embedding
  bool frequencies = false;       // Llama 3.1's scaling: rope_freqs.weight divides the frequencies
};

std::span<const GgufFamily> gguf_families();

// The row of a file; throws kData naming those there are.
const GgufFamily& gguf_family(const GgufFile& file);

// The file's settings as those of a config.json. Throws kData naming the key that is missing, of another type, or not
// known here.
nlohmann::ordered_json hf_settings(const GgufFile& file, const GgufFamily& family);

// The reverse: keys of a file for the settings of a config.json that it has keys for.
GgufMetadata gguf_settings(const nlohmann::ordered_json& settings, const GgufFamily& family);

// Whether a tensor holds rows of q or k (GgufFamily::pairs), and where the file has row r of them: the halves of a head
// are rotated against each other here, neighbours there.
bool in_rotary_pairs(std::string_view gguf_name);
int64_t row_of_pairs(int64_t r, int64_t head_width);

// Where a part of a parameter lies: in a tensor of the file (empty name: in none), or in one expert's part of it, which
// has the shape of the piece.
struct GgufPiece {
  std::string name;
  int64_t expert = -1;
  HfPiece in;  // in.tensor is the family's name, for messages
};
std::vector<GgufPiece> gguf_pieces(const GgufFamily& row, const ModelConfig& config, const Parameter& parameter);

// What the frequencies of rotary positions are divided by (GgufFamily::frequencies); empty without Llama 3.1's scaling.
inline constexpr const char* kGgufFrequencies = "rope_freqs.weight";
std::vector<float> gguf_frequencies(const ModelConfig& config);

}  // namespace troupe
