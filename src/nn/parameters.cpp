#include "nn/parameters.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/rng.h"
#include "base/threads.h"
#include "ops/transfer.h"
#include "tensor/bf16.h"

namespace troupe {
namespace {

constexpr std::string_view kNumber = "{}";  // of an expert, in the name of its family

int64_t align(int64_t offset) { return (offset + 15) / 16 * 16; }  // a tensor begins on a cache line

}  // namespace

Parameter ParameterFamily::member(int64_t i) const {
  Parameter parameter = pattern;
  parameter.slot = {pattern.slot.begin + i, pattern.slot.begin + i + 1};
  if (pattern.role != Role::kExpert) return parameter;
  parameter.name.replace(pattern.name.find(kNumber), kNumber.size(), std::to_string(i));
  parameter.expert = i;
  return parameter;
}

Slot ParameterTable::add(std::vector<Parameter> adjacent) {
  const int64_t begin = num_entries_;
  for (Parameter& parameter : adjacent) add_family(std::move(parameter), 1, num_entries_ == begin);
  return {begin, num_entries_};
}

Slot ParameterTable::add_experts(Parameter pattern, int64_t num_experts) {
  TROUPE_ASSERT(pattern.name.find(kNumber) != std::string::npos);
  pattern.role = Role::kExpert;
  add_family(std::move(pattern), num_experts, true);
  return families_.back().pattern.slot;
}

void ParameterTable::add_family(Parameter pattern, int64_t count, bool aligned) {
  if (!index_.emplace(pattern.name, families_.size()).second)
    fail(ErrorCode::kInternal, "parameter table: {}: added twice", pattern.name);
  int64_t size = 0;
  if (__builtin_mul_overflow(count, pattern.size(), &size) ||
      __builtin_add_overflow(num_parameters_, size, &num_parameters_))
    fail(ErrorCode::kUsage, "model: expected fewer than 2^63 parameters, got more (up to {})", pattern.name);
  pattern.slot = {num_entries_, num_entries_ + count};
  num_entries_ += count;
  families_.push_back({std::move(pattern), aligned});
}

std::vector<Parameter> ParameterTable::entries() const {
  std::vector<Parameter> entries;
  entries.reserve(static_cast<size_t>(num_entries_));
  for (const ParameterFamily& family : families_)
    for (int64_t i = 0; i < family.count(); ++i) entries.push_back(family.member(i));
  return entries;
}

// A name is a family's own, or that of a family of experts with {} in the place of one of its numbers.
std::optional<Parameter> ParameterTable::find_or_null(std::string_view name) const {
  const std::string own(name);
  if (const auto found = index_.find(own);
      found != index_.end() && families_[found->second].pattern.role != Role::kExpert)
    return families_[found->second].member(0);
  constexpr std::string_view kDigits = "0123456789";
  for (size_t begin = own.find_first_of(kDigits); begin != own.npos;) {
    const size_t end = std::min(own.find_first_not_of(kDigits, begin), own.size());
    const std::string digits = own.substr(begin, end - begin);
    const auto found = index_.find(own.substr(0, begin).append(kNumber).append(own, end));
    if (found != index_.end() && digits.size() < 10) {
      const ParameterFamily& family = families_[found->second];
      const int64_t number = std::stoll(digits);
      if (number < family.count() && std::to_string(number) == digits) return family.member(number);
    }
    begin = own.find_first_of(kDigits, end);
  }
  return std::nullopt;
}

std::string_view ParameterTable::name_of(Slot slot) const {
  const auto after = std::upper_bound(families_.begin(), families_.end(), slot.begin,
                                      [](int64_t i, const auto& family) { return i < family.pattern.slot.begin; });
  return std::prev(after)->pattern.name;
}

Parameter ParameterTable::find(std::string_view name) const {
  std::optional<Parameter> parameter = find_or_null(name);
  if (!parameter) fail(ErrorCode::kData, "parameter {}: the model has none of that name", name);
  return *std::move(parameter);
}

template <class real>
ParameterStore<real>::ParameterStore(const ParameterTable& table, const Selection& selected, Memory& memory,
                                     LayersLie layers)
    : table_(&table) {
  const auto place_of = [&](const Parameter& parameter) {
    return layers == LayersLie::kTogether ? parameter.layer : int64_t{-1};
  };
  std::map<int64_t, int64_t> ends = {{-1, 0}};  // of a layer, from where it begins; -1: of what is apart
  bounds_.reserve(static_cast<size_t>(table.num_entries()));
  for (const ParameterFamily& family : table.families()) {
    int64_t& end = ends[place_of(family.pattern)];
    if (family.aligned) end = align(end);
    const int64_t size = family.pattern.size();
    for (int64_t i = 0; i < family.count(); ++i) {
      const int64_t begin = end;
      if (!selected || selected(family.member(i))) end += size;
      bounds_.emplace_back(begin, end);
    }
  }
  int64_t place = 0;
  for (const auto& [layer, end] : ends)
    if (layer >= 0) place = std::max(place, align(end));
  for (const ParameterFamily& family : table.families())
    for (int64_t i = family.pattern.slot.begin; place > 0 && i < family.pattern.slot.end; ++i)
      if (place_of(family.pattern) < 0) bounds_[i].first += place, bounds_[i].second += place;
  place_size_ = static_cast<size_t>(place);
  values_ = Buffer<real>(place + align(ends[-1]), memory);
}

template <class real>
std::vector<Parameter> ParameterStore<real>::entries() const {
  std::vector<Parameter> held;
  for (const ParameterFamily& family : table_->families())
    for (int64_t i = 0; i < family.count(); ++i)
      if (const auto& [begin, end] = bounds_[family.pattern.slot.begin + i]; end > begin)
        held.push_back(family.member(i));
  return held;
}

template <class real>
void ParameterStore<real>::set_zero() {
  run(Fill<real>{.x = {all().data(), 1, values_.size()}});
}

template <class real>
void ParameterStore<real>::set_layers_place_zero() {
  run(Fill<real>{.x = {all().data(), 1, static_cast<int64_t>(place_size_)}});
}

uint64_t key_of(uint64_t seed, std::string_view name) {
  uint64_t key = mix_key(seed, name.size());
  for (const char c : name) key = mix_key(key, static_cast<unsigned char>(c));
  return key;
}

namespace {

template <class real>
void draw(const Parameter& parameter, uint64_t seed, std::span<real> values) {
  const Init& init = parameter.init;
  Rng rng(key_of(seed, parameter.name));
  for (real& value : values) {
    switch (init.kind) {
      case Init::kConstant:
        value = static_cast<real>(init.scale);
        break;
      case Init::kNormal:
        value = static_cast<real>(init.scale * rng.normal());
        break;
      case Init::kUniform:
        value = static_cast<real>(rng.uniform(-init.scale, init.scale));
        break;
    }
  }
  if (init.zero_row >= 0 && init.zero_row < parameter.shape[0]) {
    const int64_t width = parameter.size() / parameter.shape[0];
    std::fill_n(values.begin() + init.zero_row * width, width, real{0});
  }
}

}  // namespace

template <class real>
void initialize(ParameterStore<real>& store, uint64_t seed) {
  const std::vector<Parameter> entries = store.entries();
  std::vector<std::span<real>> spans;
  for (const Parameter& parameter : entries) spans.push_back(store.at(parameter.slot));
  parallel_for(static_cast<int64_t>(entries.size()), [&](int64_t i) {
    from_host(spans[static_cast<size_t>(i)],
              [&](std::span<real> values) { draw(entries[static_cast<size_t>(i)], seed, values); });
  });
}

template class ParameterStore<float>;
template class ParameterStore<double>;
template class ParameterStore<bf16>;
template void initialize(ParameterStore<float>&, uint64_t);
template void initialize(ParameterStore<double>&, uint64_t);

}  // namespace troupe
