// A model ready for use: configuration, float32 parameters and a decoder in the chosen precision. What evaluation,
// generation and serving hold; training holds its parts.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <variant>

#include "model/decoder.h"
#include "model/precision_choice.h"
#include "nn/parameters.h"

namespace troupe {

// bf16 on a GPU and where the CPU multiplies bf16, float32 elsewhere.
Precision default_precision();
Precision precision_of(PrecisionChoice choice);
std::string to_string(Precision precision);  // "fp32" or "bf16"

class LanguageModel {
 public:
  // A model of zeros, to be filled through params(). What passes and training keep lies in the same memory.
  LanguageModel(const ModelConfig& config, Precision precision, DecoderOptions options = {},
                Memory& memory = active_memory());

  const ModelConfig& config() const { return config_; }
  const ParameterTable& table() const { return table_; }
  ParameterStore<float>& params() { return params_; }
  const ParameterStore<float>& params() const { return params_; }
  Precision precision() const { return precision_; }
  Communicator* ranks() const { return ranks_; }  // DecoderOptions::ranks
  // Parameters that lie here, of this table and of others with the same experts (nn/lora.h): of several ranks all but
  // the experts of others. Empty: all.
  Selection held() const;
  // A copy that has all experts and computes alone, for batches of its own. Where ranks share the model all make this
  // call.
  std::unique_ptr<LanguageModel> whole() const;

  // Fills what params() does not hold (DecoderOptions::inference): `read` gives the values of a parameter, one matrix
  // at a time in float32.
  using WeightReader = std::function<void(const Parameter&, std::span<float>)>;
  void pack_weights(const WeightReader& read);

  // As those of the Decoder.
  LossSum score(const Batch& batch, const RunMode& mode, std::span<float> nll_T = {}, std::span<int32_t> argmax_T = {});
  LossSum forward_backward(const Batch& batch, const RunMode& mode, ParameterStore<float>& grads,
                           const LayerDone& layer_done = {});
  Later<PassSums> forward_backward_later(const Batch& batch, const RunMode& mode, ParameterStore<float>& grads,
                                         const LayerDone& layer_done = {});
  void learn_from(LanguageModel& teacher, const Distillation& distillation);  // of the same precision
  std::span<const RouterStats> router_stats() const;
  const Arena& arena() const;

  // Calls f with the Decoder<F32> or Decoder<Bf16> inside.
  template <class F>
  decltype(auto) visit(const F& f) {
    return std::visit([&](auto& decoder) -> decltype(auto) { return f(*decoder); }, decoder_);
  }

 private:
  ModelConfig config_;
  Precision precision_;
  bool packed_;  // weights that products alone read are not in params_
  ParameterTable table_;
  ParameterStore<float> params_;
  Communicator* ranks_;
  std::variant<std::unique_ptr<Decoder<F32>>, std::unique_ptr<Decoder<Bf16>>> decoder_;
};

}  // namespace troupe
