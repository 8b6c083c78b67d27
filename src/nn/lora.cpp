#include "nn/lora.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "base/error.h"
#include "base/rng.h"
#include "ops/elementwise.h"
#include "ops/linear.h"
#include "ops/transfer.h"

namespace troupe {
namespace {

constexpr uint64_t kInputStream = 0x6c6f7261;  // keeps the masks of adapters' inputs apart from others
constexpr std::string_view kWeight = ".weight", kA = ".lora_A", kB = ".lora_B";

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
    const auto add = [&](std::string_view kind, const Shape& shape, const Init& init) {
      Parameter parameter = weight;
      parameter.name.replace(parameter.name.size() - kWeight.size(), kWeight.size(), kind);
      parameter.shape = shape, parameter.init = init;
      return weight.role == Role::kExpert ? made.table.add_experts(std::move(parameter), family.count())
                                          : made.table.add(std::move(parameter));
    };
    target.a = add(kA, {weight.stacked * rank, target.cols},
                   {Init::kUniform, 1.0 / std::sqrt(static_cast<double>(target.cols)), -1});
    target.b = add(kB, {weight.shape[0], rank}, {Init::kConstant, 0.0, -1});
    made.targets.push_back(std::move(target));
  }
  return made;
}

bool is_lora_a(const Parameter& parameter) { return parameter.name.ends_with(kA); }

std::vector<Slot> lora_kept(const LoraParameters& parameters, const ParameterTable& model, double dropout) {
  const auto& families = model.families();
  std::vector<Slot> kept;
  for (auto family = families.begin(); family != families.end();) {
    auto end = std::next(family);
    while (dropout > 0.0 && end != families.end() && !end->aligned) ++end;
    const Slot slot = {family->pattern.slot.begin, std::prev(end)->pattern.slot.end};
    if (std::ranges::any_of(parameters.targets, [&](const LoraTarget& target) {
          return target.weight.slot.begin >= slot.begin && target.weight.slot.end <= slot.end;
        }))
      kept.push_back(slot);
    family = end;
  }
  return kept;
}

template <class P>
Lora<P>::Lora(const LoraParameters& parameters, double scale, const ParameterStore<real>& weights,
              const Selection& held, double dropout)
    : parameters_(parameters),
      scale_(scale),
      dropout_(dropout),
      base_(
          weights.table(),
          [&, kept = lora_kept(parameters, weights.table(), dropout)](const Parameter& parameter) {
            return !weights.at(parameter.slot).empty() && std::ranges::any_of(kept, [&](Slot slot) {
              return parameter.slot.begin >= slot.begin && parameter.slot.end <= slot.end;
            });
          },
          weights.memory()),
      values_(parameters.table, held, weights.memory()),
      scaled_(parameters.table, held, weights.memory()),
      turned_(
          parameters.table,
          [&](const Parameter& parameter) { return is_lora_a(parameter) && (!held || held(parameter)); },
          weights.memory()),
      room_(weights.memory()) {
  for (const Slot slot : lora_kept(parameters, weights.table(), dropout)) copy<real>(weights.at(slot), base_.at(slot));
}

template <class P>
void Lora<P>::prepare_values() {
  const auto scaled_of = [&](Slot slot) {
    std::vector<real> scaled(std::as_const(values_).at(slot).size());
    copy<real>(std::as_const(values_).at(slot), scaled);
    for (real& value : scaled) value = static_cast<real>(scale_ * static_cast<double>(value));
    return scaled;
  };
  for (const LoraTarget& target : parameters_.targets) {
    const int64_t rank = parameters_.rank, cols = target.cols, stacked = target.weight.stacked;
    const int64_t maps = held_maps(target);
    const std::vector<real> a = scaled_of(target.a), b = scaled_of(target.b);
    std::vector<real> turned(a.size()), by_matrix(b.size());
    for (int64_t i = 0; i < maps * rank; ++i)
      for (int64_t k = 0; k < cols; ++k)
        turned[static_cast<size_t>((i / rank * cols + k) * rank + i % rank)] = a[static_cast<size_t>(i * cols + k)];
    const auto size = static_cast<std::ptrdiff_t>(target.rows * rank);
    for (int64_t i = 0; i < maps; ++i) {
      const int64_t to = i % stacked * (maps / stacked) + i / stacked;
      std::copy_n(b.begin() + i * size, size, by_matrix.begin() + to * size);
    }
    copy<real>(a, scaled_.at(target.a));
    copy<real>(by_matrix, scaled_.at(target.b));
    copy<real>(turned, turned_.at(target.a));
  }
}

template <class P>
void Lora<P>::merge(ParameterStore<real>& weights) {
  prepare_values();
  for (const LoraTarget& target : parameters_.targets) {
    const int64_t rank = parameters_.rank, maps = held_maps(target), rows = maps * target.rows;
    if (maps == 0) continue;
    const LinearBank<P> a(maps, target.cols, rank, std::as_const(turned_).at(target.a).data(), nullptr);
    const Matrix<const real> b(std::as_const(values_).at(target.b).data(), rows, rank);
    const Matrix<const real> base(std::as_const(base_).at(target.weight.slot).data(), rows, target.cols);
    const Matrix<real> merged(weights.at(target.weight.slot).data(), rows, target.cols);
    run(LinearForward<P>{a, b, even_offsets(maps, target.rows), {.out_real = merged, .residual = base}});
  }
}

template <class P>
template <class F>
void Lora<P>::each_target(Slot tensor, const F& f) const {
  int64_t first_row = 0;
  for (const ParameterFamily& family : base_.table().families()) {
    const Slot slot = family.pattern.slot;  // of all experts, of which the tensor may have this rank's
    if (slot.begin >= tensor.end || slot.end <= tensor.begin) continue;
    for (const LoraTarget& target : parameters_.targets)
      if (target.weight.slot.begin == slot.begin && held_maps(target) > 0) f(target, first_row);
    first_row += family.pattern.shape[0];
  }
}

template <class P>
std::vector<LowRank<typename P::real>> Lora<P>::adapters_of(Slot tensor, ParameterStore<real>& grads) {
  std::vector<LowRank<real>> found;
  each_target(tensor, [&](const LoraTarget& target, int64_t first_row) {
    found.push_back({.first_row = first_row,
                     .rows = target.rows,
                     .stacked = target.weight.stacked,
                     .rank = parameters_.rank,
                     .a = std::as_const(scaled_).at(target.a).data(),
                     .b = std::as_const(scaled_).at(target.b).data(),
                     .da = grads.at(target.a).data(),
                     .db = grads.at(target.b).data(),
                     .room = &room_});
  });
  return found;
}

template <class P>
std::vector<DroppedAdapter<typename P::real>> Lora<P>::dropped_adapters_of(Slot tensor, ParameterStore<real>& grads) {
  std::vector<DroppedAdapter<real>> found;
  each_target(tensor, [&](const LoraTarget& target, int64_t first_row) {
    for (int64_t i = 0; i < target.weight.stacked; ++i) {
      const int64_t in_a = i * parameters_.rank * target.cols, in_b = i * target.rows * parameters_.rank;
      found.push_back({.first_row = first_row + i * target.rows,
                       .rows = target.rows,
                       .rank = parameters_.rank,
                       .a = std::as_const(values_).at(target.a).data() + in_a,
                       .a_turned = std::as_const(turned_).at(target.a).data() + in_a,
                       .b = std::as_const(values_).at(target.b).data() + in_b,
                       .da = grads.at(target.a).data() + in_a,
                       .db = grads.at(target.b).data() + in_b,
                       .scale = scale_,
                       .probability = dropout_,
                       .key = mix_key(key_of(kInputStream, target.weight.name), static_cast<uint64_t>(i)),
                       .room = &room_});
    }
  });
  return found;
}

template class Lora<F64>;
template class Lora<F32>;

}  // namespace troupe
