// The one parameter table: allocation, initialisation, optimizer, checkpoints and counts iterate over it. Values of one
// kind (weights, gradients, moments) are one contiguous store in the table's layout.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tensor/buffer.h"
#include "tensor/shape.h"

namespace troupe {

// Initial distribution (fairseq-style; the sources stand beside each use in nn/parameter_table.cpp).
struct Init {
  enum Kind { kConstant, kNormal, kUniform } kind = kConstant;
  double scale = 0.0;     // the constant, the standard deviation, or the bound of U(-bound, bound)
  int64_t zero_row = -1;  // a row set to zero afterwards (padding)
};

// A range of elements in a store.
struct Slot {
  int64_t offset = 0, size = 0;
};

struct Parameter {
  std::string name;  // global: layers.3.moe.experts.17.fc1.weight wherever it lives
  Shape shape;
  Init init;
  Slot slot;
  bool is_expert = false;
};

class ParameterTable {
 public:
  void add(std::string name, Shape shape, Init init, bool is_expert = false);
  // Entries added until the next align() lie back to back, so that e.g. q, k and v form one matrix.
  void align();

  const std::vector<Parameter>& entries() const { return entries_; }
  int64_t size() const { return size_; }               // elements of a store, padding included
  int64_t num_parameters() const;                      // without padding
  const Parameter& find(std::string_view name) const;  // throws kData naming it
  const Parameter* find_or_null(std::string_view name) const;
  // The range from `first` to the end of `last`; they must be adjacent in one group.
  Slot range(std::string_view first, std::string_view last) const;

 private:
  std::vector<Parameter> entries_;
  std::unordered_map<std::string, size_t> index_;
  int64_t size_ = 0;
};

template <class real>
class ParameterStore {
 public:
  explicit ParameterStore(const ParameterTable& table) : table_(&table), values_(table.size()) {}

  const ParameterTable& table() const { return *table_; }
  std::span<real> all() const { return values_.span(); }
  std::span<real> at(Slot slot) const { return values_.span().subspan(slot.offset, slot.size); }
  std::span<real> at(std::string_view name) const { return at(table_->find(name).slot); }
  void set_zero() const;

 private:
  const ParameterTable* table_;
  Buffer<real> values_;
};

// Fills a store from a seed. A parameter's values depend on (seed, name) alone, so a dense model and its sparse twin
// start equal wherever they share parameters.
template <class real>
void initialize(const ParameterStore<real>& store, uint64_t seed);

}  // namespace troupe
