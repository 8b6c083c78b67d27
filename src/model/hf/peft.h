// Low-rank adapters in the files of Hugging Face's PEFT: a folder with adapter_config.json and
// adapter_model.safetensors, whose tensors are base_model.model.MODULE.lora_A.weight [r, in] and .lora_B.weight [out,
// r]. MODULE is the name that transformers has for a linear layer; for a model of no family that we write, and for
// adapters of routers, it is ours: layers.0.attn.q_proj, of a gated fc1 layers.0.ffn.fc1.gate and .up.
//
// Experts are linear layers in transformers 4, which is read, and slices of two tensors in transformers 5,
// MODULE.gate_up_proj and .down_proj (PEFT's target_parameters), which is read and written. Then lora_A is [E r, in], a
// slice's rows one after the other, and lora_B [out, r E], a slice's columns E apart; of the two tensors, if both have an
// adapter, gate_up_proj's is MODULE.base_layer.
//
// What we write has in the tensors' __metadata__, which PEFT does not read, "base_weights": a sum of the weights that the
// adapters were trained on (model/weights_sum.h), of all parameters that have a module here.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "model/hf/families.h"
#include "model/model_tensors.h"
#include "nn/lora.h"
#include "nn/parameters.h"
#include "troupe/config.h"

namespace troupe {

// An adapter's folder: `folder` itself, or of a run what it wrote. Throws kData if there is none.
std::filesystem::path find_adapter(const std::filesystem::path& folder);
// What it consists of, as it is.
std::string adapter_config_text(const std::filesystem::path& adapter);
ModelTensors open_adapter_tensors(const std::filesystem::path& adapter);

// An adapter as it is read, for a model of these settings. Its rank and scale may differ by module.
class PeftAdapter {
 public:
  // `family` may be null: then modules have our names alone. Throws kData naming file and key or tensor: for what
  // is no LoRA of linear layers, for a module that the model has not, and for a setting that changes what an adapter
  // means.
  PeftAdapter(const std::filesystem::path& folder, const ModelConfig& config, const HfFamily* family);

  // values += scale B A, where the adapter has something for this parameter; values of the host. By the product that
  // training merges with (nn/lora.h), so the bits are those of a training on this processor.
  void add_to(const Parameter& parameter, std::span<float> values) const;
  int64_t num_modules() const { return num_modules_; }  // of experts: tensors
  int64_t num_parameters() const { return static_cast<int64_t>(parts_.size()); }
  bool adapts(const Parameter& parameter) const { return parts_.contains(parameter.name); }
  const std::string& base_model() const { return base_model_; }      // as its files name it; "" if they do not
  const std::string& base_weights() const { return base_weights_; }  // WeightsSum of what it adapts; "" as well

 private:
  struct Factors {
    int64_t rank = 0, in = 0;
    std::vector<float> a, b;  // (scale A)^T [in, rank], B [out, rank]
  };
  // Rows of a parameter: those of a module from `out` on.
  struct Part {
    const Factors* factors;
    int64_t row = 0, rows = 0, out = 0;
  };

  int64_t num_modules_ = 0;
  std::string base_model_, base_weights_;
  std::vector<std::unique_ptr<Factors>> factors_;
  std::unordered_map<std::string, std::vector<Part>> parts_;  // by parameter
};

// What a written adapter says of itself.
struct PeftFacts {
  std::string base_model;  // as given
  double alpha = 0.0, dropout = 0.0;
  // Gives the weights that it was trained on, of which its files keep a sum; none: they do not.
  std::function<void(const Parameter&, std::span<float>)> base = {};
};

// Writes the adapters into `folder`, which exists. What several adapters have in one module of transformers (q, k and v
// of GPT-2) is one of a higher rank with blocks of zeros. Returns how many modules there are.
int64_t write_peft_adapter(const std::filesystem::path& folder, const LoraParameters& adapters,
                           const ParameterStore<float>& values, const ModelConfig& config, const HfFamily* family,
                           const PeftFacts& facts);

}  // namespace troupe
