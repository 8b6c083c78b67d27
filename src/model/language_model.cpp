#include "model/language_model.h"

#include <type_traits>

#include "base/device.h"
#include "base/error.h"
#include "base/isa.h"
#include "base/log.h"
#include "dist/communicator.h"
#include "model/decoder_weights.h"
#include "ops/transfer.h"

namespace troupe {

Precision default_precision() {
  const bool multiplies_bf16 = active_device() == Device::kCuda || active_isa() >= Isa::kAvx512Bf16;
  return multiplies_bf16 ? Precision::kBf16 : Precision::kFp32;
}

Precision precision_of(PrecisionChoice choice) {
  if (choice == PrecisionChoice::kAuto) return default_precision();
  return choice == PrecisionChoice::kBf16 ? Precision::kBf16 : Precision::kFp32;
}

std::string to_string(Precision precision) { return std::string(name_of_enum(precision)); }

namespace {

bool keeps_packed(Precision precision, DecoderOptions options) {
  if (!options.inference || options.ranks) return false;
  return precision == Precision::kBf16 ? LinearBank<Bf16>::can_be_packed() : LinearBank<F32>::can_be_packed();
}

Selection held_by(const Communicator* ranks, const ModelConfig& config) {
  if (!ranks) return {};
  const Share experts = experts_of(config.moe.num_experts, ranks->rank(), ranks->size());
  return [experts](const Parameter& parameter) {
    return parameter.role != Role::kExpert || (parameter.expert >= experts.begin && parameter.expert < experts.end);
  };
}

// Which parameters are kept in float32.
Selection kept(bool packed, const ModelConfig& config, const Communicator* ranks) {
  if (!packed) return held_by(ranks, config);
  return [](const Parameter& parameter) { return !parameter.product; };
}

}  // namespace

LanguageModel::LanguageModel(const ModelConfig& config, Precision precision, DecoderOptions options, Memory& memory)
    : config_(config),
      precision_(precision),
      packed_(keeps_packed(precision, options)),
      table_(make_parameter_table(config)),
      params_(table_, kept(packed_, config, options.ranks), memory),
      ranks_(options.ranks) {
  if (config.num_moe_layers() > 0 && config.moe.router == RouterKind::kExpertChoice)
    log::warning("model.moe.router: expert_choice: a token's experts depend on later tokens, so losses are too good");
  if (precision == Precision::kBf16)
    decoder_ = std::make_unique<Decoder<Bf16>>(config_, params_, options);
  else
    decoder_ = std::make_unique<Decoder<F32>>(config_, params_, options);
}

Selection LanguageModel::held() const { return held_by(ranks_, config_); }

std::unique_ptr<LanguageModel> LanguageModel::whole() const {
  auto whole = std::make_unique<LanguageModel>(config_, precision_, DecoderOptions{}, params_.memory());
  for (const ParameterFamily& family : table_.families()) {
    const Slot slot = family.pattern.slot;
    const std::span<const float> own = params_.at(slot);
    const std::span<float> all = whole->params_.at(slot);
    if (!ranks_ || family.pattern.role != Role::kExpert) {
      copy<float>(own, all);
      continue;
    }
    std::vector<int64_t> experts;  // by rank; of copies the first
    for (int r = 0; r < ranks_->size(); ++r) {
      const Share held = experts_of(family.count(), r, ranks_->size());
      experts.push_back(holders_of(family.count(), held.begin, ranks_->size()).begin == r ? held.size() : 0);
    }
    Buffer<float> room(staging_memory());
    const std::span<const float> own_here = to_host<float>(own, room);
    from_host<float>(all, [&](std::span<float> here) {
      ranks_->gather(own_here.data(), here.data(), experts,
                     family.pattern.size() * static_cast<int64_t>(sizeof(float)), "experts of all");
    });
  }
  return whole;
}

void LanguageModel::pack_weights(const WeightReader& read) {
  const std::vector<Parameter> entries = table_.entries();
  Buffer<float> values;
  visit([&](auto& decoder) {
    decoder.weights().each_map([&](auto& map) {
      if (map.has_weights()) return;
      const Slot slot = map.slots().weight;
      const int64_t parts = (slot.end - slot.begin) / map.num_maps();  // q, k and v are parts of one map
      for (int64_t i = 0; i < map.num_maps(); ++i) {
        const std::span<const Parameter> of_map(&entries[static_cast<size_t>(slot.begin + i * parts)],
                                                static_cast<size_t>(parts));
        size_t size = 0;
        for (const Parameter& parameter : of_map) size += static_cast<size_t>(parameter.size());
        values.reserve(static_cast<int64_t>(size));
        std::span<float> room = values.span().first(size);
        for (const Parameter& parameter : of_map) {
          read(parameter, room.first(static_cast<size_t>(parameter.size())));
          room = room.subspan(static_cast<size_t>(parameter.size()));
        }
        map.pack(i, {.dtype = DType::kF32, .bytes = std::as_bytes(values.span().first(size))});
      }
    });
  });
}

LossSum LanguageModel::score(const Batch& batch, const RunMode& mode, std::span<float> nll_T,
                             std::span<int32_t> argmax_T) {
  return visit([&](auto& decoder) { return decoder.score(batch, mode, nll_T, argmax_T); });
}

LossSum LanguageModel::forward_backward(const Batch& batch, const RunMode& mode, ParameterStore<float>& grads,
                                        const LayerDone& layer_done) {
  return forward_backward_later(batch, mode, grads, layer_done)().loss;
}

Later<PassSums> LanguageModel::forward_backward_later(const Batch& batch, const RunMode& mode,
                                                      ParameterStore<float>& grads, const LayerDone& layer_done) {
  if (packed_)
    fail(ErrorCode::kInternal, "model: expected one for training, got one for inference: its weights are packed");
  return visit([&](auto& decoder) { return decoder.forward_backward_later(batch, mode, grads, layer_done); });
}

void LanguageModel::learn_from(LanguageModel& teacher, const Distillation& distillation) {
  visit([&](auto& decoder) {
    teacher.visit([&](auto& of_teacher) {
      if constexpr (std::is_same_v<decltype(decoder), decltype(of_teacher)>)
        decoder.learn_from(of_teacher, distillation);
      else
        fail(ErrorCode::kInternal, "model: expected a teacher in {}, got one in {}", to_string(precision_),
             to_string(teacher.precision_));
    });
  });
}

std::span<const RouterStats> LanguageModel::router_stats() const {
  return std::visit([](const auto& decoder) { return decoder->router_stats(); }, decoder_);
}

const Arena& LanguageModel::arena() const {
  return std::visit([](const auto& decoder) -> const Arena& { return decoder->arena(); }, decoder_);
}

}  // namespace troupe
