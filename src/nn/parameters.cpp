#include "nn/parameters.h"

#include <algorithm>

#include "base/error.h"
#include "base/rng.h"
#include "base/threads.h"

namespace troupe {

void ParameterTable::add(std::string name, Shape shape, Init init, bool is_expert) {
  const int64_t size = num_elements(shape);
  if (!index_.emplace(name, entries_.size()).second)
    fail(ErrorCode::kInternal, "parameter table: {}: added twice", name);
  entries_.push_back({std::move(name), std::move(shape), init, {size_, size}, is_expert});
  size_ += size;
}

void ParameterTable::align() { size_ = (size_ + 15) / 16 * 16; }

int64_t ParameterTable::num_parameters() const {
  int64_t count = 0;
  for (const Parameter& parameter : entries_) count += parameter.slot.size;
  return count;
}

const Parameter* ParameterTable::find_or_null(std::string_view name) const {
  const auto found = index_.find(std::string(name));
  return found == index_.end() ? nullptr : &entries_[found->second];
}

const Parameter& ParameterTable::find(std::string_view name) const {
  const Parameter* parameter = find_or_null(name);
  if (!parameter) fail(ErrorCode::kData, "parameter {}: the model has none of that name", name);
  return *parameter;
}

Slot ParameterTable::range(std::string_view first, std::string_view last) const {
  const Parameter &a = find(first), &b = find(last);
  int64_t sum = 0;
  for (const Parameter* p = &a; p <= &b; ++p) sum += p->slot.size;
  const int64_t size = b.slot.offset + b.slot.size - a.slot.offset;
  if (sum != size) fail(ErrorCode::kInternal, "parameter table: {} .. {} are not adjacent", first, last);
  return {a.slot.offset, size};
}

template <class real>
void ParameterStore<real>::set_zero() const {
  parallel_chunks(values_.size(), 1 << 20, [&](int64_t begin, int64_t end) {
    std::fill(values_.begin() + begin, values_.begin() + end, real{0});
  });
}

namespace {

uint64_t key_of(uint64_t seed, std::string_view name) {
  uint64_t key = mix_key(seed, name.size());
  for (const char c : name) key = mix_key(key, static_cast<unsigned char>(c));
  return key;
}

}  // namespace

template <class real>
void initialize(const ParameterStore<real>& store, uint64_t seed) {
  const std::vector<Parameter>& entries = store.table().entries();
  parallel_for(static_cast<int64_t>(entries.size()), [&](int64_t i) {
    const Parameter& parameter = entries[static_cast<size_t>(i)];
    const Init& init = parameter.init;
    const std::span<real> values = store.at(parameter.slot);
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
      const int64_t width = parameter.slot.size / parameter.shape[0];
      std::fill_n(values.begin() + init.zero_row * width, width, real{0});
    }
  });
}

template class ParameterStore<float>;
template class ParameterStore<double>;
template void initialize(const ParameterStore<float>&, uint64_t);
template void initialize(const ParameterStore<double>&, uint64_t);

}  // namespace troupe
