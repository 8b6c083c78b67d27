// Architectures of GGUF files: one row each, which says what family of Hugging Face (model/hf/families.h) it is. The
// settings and tensors of a file are those of that family under other names.
#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>

#include "io/gguf.h"

namespace troupe {

inline constexpr const char* kGgufEndOfText = "tokenizer.ggml.eos_token_id";

struct GgufFamily {
  std::string_view architecture;  // general.architecture
  std::string_view model_type;    // of a config.json
  bool sparse = false;            // with experts; `llama` has two rows
  bool pairs = false;             // rows of q and k are in the order of rotary pairs of neighbours
  bool norm_topk_prob = false;    // what llama.cpp does for it; where the family has the setting
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

// Where a tensor of the family lies: a tensor of the file, or one expert's part of it. Empty name: nowhere.
struct GgufPlace {
  std::string name;
  int64_t expert = -1;
};
GgufPlace gguf_place(std::string_view hf_name);

}  // namespace troupe
