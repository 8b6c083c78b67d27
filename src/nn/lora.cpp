#include "nn/lora.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "ops/elementwise.h"
#include "ops/linear.h"
#include "ops/transfer.h"

namespace troupe {
namespace {

constexpr std::string_view kWeight = ".weight";

std::vector<int64_t> even_offsets(int64_t maps, int64_t rows) {
  std::vector<int64_t> offsets;
  for (int64_t map = 0; map <= maps; ++map) offsets.push_back(map * rows);
  return offsets;
}

}  // namespace

LoraParameters make_lora_parameters(const ParameterTable& model, const Selection& adapted, int64_t rank) {
  LoraParameters made;
  made.rank = rank;
  for (const ParameterFamily& family : model.families()) {
    const Parameter& weight = family.pattern;
    if (!adapted(weight)) continue;
    TROUPE_ASSERT(weight.shape.size() == 2 && weight.name.ends_with(kWeight));
    LoraTarget target{.weight = weight, .maps = family.count() * weight.stacked};
    target.rows = weight.shape[0] / weight.stacked, target.cols = weight.shape[1];
    const auto add = [&](const char* kind, const Shape& shape, const Init& init) {
      Parameter parameter = weight;
      parameter.name.replace(parameter.name.size() - kWeight.size(), kWeight.size(), kind);
      parameter.shape = shape, parameter.init = init;
      return weight.role == Role::kExpert ? made.table.add_experts(std::move(parameter), family.count())
                                          : made.table.add(std::move(parameter));
    };
    target.a = add(".lora_A", {weight.stacked * rank, target.cols},
                   {Init::kUniform, 1.0 / std::sqrt(static_cast<double>(target.cols)), -1});
    target.b = add(".lora_B", {weight.shape[0], rank}, {Init::kConstant, 0.0, -1});
    made.targets.push_back(std::move(target));
  }
  return made;
}

Selection lora_gradients(const ParameterTable& model, const LoraParameters& adapters) {
  std::vector<uint8_t> needed(static_cast<size_t>(model.num_entries()), 0);
  const std::vector<ParameterFamily>& families = model.families();
  for (size_t begin = 0, end; begin < families.size(); begin = end) {  // a tensor: families that lie back to back
    end = begin + 1;
    while (end < families.size() && !families[end].aligned) ++end;
    const Slot tensor{families[begin].pattern.slot.begin, families[end - 1].pattern.slot.end};
    const bool has_target = std::ranges::any_of(adapters.targets, [&](const LoraTarget& target) {
      return target.weight.slot.begin >= tensor.begin && target.weight.slot.end <= tensor.end;
    });
    if (has_target) std::fill(needed.begin() + tensor.begin, needed.begin() + tensor.end, uint8_t{1});
  }
  return [needed = std::move(needed)](const Parameter& parameter) {
    return needed[static_cast<size_t>(parameter.slot.begin)] != 0;
  };
}

template <class P>
Lora<P>::Lora(const LoraParameters& parameters, double scale, const ParameterStore<real>& weights, const Selection& held)
    : parameters_(parameters),
      scale_(scale),
      base_(
          weights.table(),
          [&](const Parameter& parameter) {
            return !weights.at(parameter.slot).empty() &&
                   std::ranges::any_of(parameters.targets, [&](const LoraTarget& target) {
                     return parameter.slot.begin >= target.weight.slot.begin &&
                            parameter.slot.end <= target.weight.slot.end;
                   });
          },
          weights.memory()),
      values_(parameters.table, held, weights.memory()),
      scaled_(parameters.table, held, weights.memory()) {
  for (const LoraTarget& target : parameters_.targets)
    copy<real>(weights.at(target.weight.slot), base_.at(target.weight.slot));
}

template <class P>
void Lora<P>::scale_values() {
  std::vector<real> scaled(std::as_const(values_).all().size());
  copy<real>(std::as_const(values_).all(), scaled);
  for (real& value : scaled) value = static_cast<real>(scale_ * static_cast<double>(value));
  copy<real>(scaled, scaled_.all());
}

template <class P>
void Lora<P>::merge(ParameterStore<real>& weights, ParameterStore<real>& room) {
  scale_values();
  for (const LoraTarget& target : parameters_.targets) {
    const int64_t rank = parameters_.rank, maps = held_maps(target), rows = maps * target.rows;
    if (maps == 0) continue;
    const LinearBank<P> a(maps, rank, target.cols, std::as_const(scaled_).at(target.a).data(), nullptr);
    const Matrix<real> change(room.at(target.weight.slot).data(), rows, target.cols);
    const Matrix<const real> b(std::as_const(values_).at(target.b).data(), rows, rank);
    run(LinearBackwardInput<P>{a, b, even_offsets(maps, target.rows), {.out_real = change}});
    const Matrix<const real> base(std::as_const(base_).at(target.weight.slot).data(), rows, target.cols);
    run(Add<real>{.a = base, .b = change, .out = {weights.at(target.weight.slot).data(), rows, target.cols}});
  }
}

template <class P>
void Lora<P>::project(int64_t layer, const ParameterStore<real>& dweights, ParameterStore<real>& grads) const {
  for (const LoraTarget& target : parameters_.targets) {
    const int64_t rank = parameters_.rank, maps = held_maps(target), rows = maps * target.rows;
    if (target.weight.layer != layer || maps == 0) continue;
    const LinearBank<P> a(maps, rank, target.cols, scaled_.at(target.a).data(), nullptr);
    const std::vector<int64_t> offsets = even_offsets(maps, target.rows);
    const Matrix<const real> dw(dweights.at(target.weight.slot).data(), rows, target.cols);
    const Matrix<const real> b(scaled_.at(target.b).data(), rows, rank);
    run(LinearBackwardWeight<P>{a, b, dw, offsets, grads.at(target.a).data(), nullptr});
    const Matrix<real> db(grads.at(target.b).data(), rows, rank);
    run(LinearForward<P>{a, dw, offsets, {.out_real = db, .residual = db}});
  }
}

template class Lora<F64>;
template class Lora<F32>;

}  // namespace troupe
