#include "model/language_model.h"

#include "base/error.h"
#include "base/isa.h"
#include "model/decoder_parameters.h"

namespace troupe {

Precision default_precision() { return active_isa() >= Isa::kAvx512Bf16 ? Precision::kBf16 : Precision::kFp32; }

Precision precision_of(PrecisionChoice choice) {
  if (choice == PrecisionChoice::kAuto) return default_precision();
  return choice == PrecisionChoice::kBf16 ? Precision::kBf16 : Precision::kFp32;
}

std::string to_string(Precision precision) { return std::string(name_of_enum(precision)); }

LanguageModel::LanguageModel(const ModelConfig& config, Precision precision, DecoderOptions options, Memory& memory)
    : config_(config), precision_(precision), table_(make_parameter_table(config)), params_(table_, {}, memory) {
  if (precision == Precision::kBf16)
    decoder_ = std::make_unique<Decoder<Bf16>>(config_, params_, options);
  else
    decoder_ = std::make_unique<Decoder<F32>>(config_, params_, options);
}

LossSum LanguageModel::score(const Batch& batch, const RunMode& mode, std::span<float> nll_T,
                             std::span<int32_t> argmax_T) {
  return visit([&](auto& decoder) { return decoder.score(batch, mode, nll_T, argmax_T); });
}

LossSum LanguageModel::forward_backward(const Batch& batch, const RunMode& mode, ParameterStore<float>& grads) {
  return visit([&](auto& decoder) { return decoder.forward_backward(batch, mode, grads); });
}

std::span<const RouterStats> LanguageModel::router_stats() const {
  return std::visit([](const auto& decoder) { return decoder->router_stats(); }, decoder_);
}

const Arena& LanguageModel::arena() const {
  return std::visit([](const auto& decoder) -> const Arena& { return decoder->arena(); }, decoder_);
}

}  // namespace troupe
