// What the parameters of a model are, and stores of their values.
//
// The table describes them in the order of memory and files: name, shape, initial values, role. Counts, allocation,
// initialisation, optimizer and checkpoints are loops over it. A store holds values of one kind (weights, gradients, a
// moment) for a selection of the parameters; what it does not hold is an empty span.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tensor/buffer.h"
#include "tensor/shape.h"

namespace troupe {

// Initial distribution (fairseq-style; the sources stand beside each use in model/decoder_parameters.cpp).
struct Init {
  enum Kind { kConstant, kNormal, kUniform } kind = kConstant;
  double scale = 0.0;     // the constant, the standard deviation, or the bound of U(-bound, bound)
  int64_t zero_row = -1;  // a row set to zero afterwards (padding)
};

enum class Role {
  kDense,   // every token passes through it
  kExpert,  // one of E of a layer: a token passes through those that it is sent to
  kState,   // saved with the model, but no gradient trains it
};

// Consecutive parameters [begin, end) of a table: what a block uses as one tensor.
struct Slot {
  int64_t begin = 0, end = 0;
  bool empty() const { return begin == end; }
};

struct Parameter {
  std::string name;  // global: layers.3.moe.experts.17.fc1.weight wherever it lives
  Shape shape;
  Init init;
  Role role = Role::kDense;
  int64_t layer = -1;   // -1: of none
  int64_t expert = -1;  // its number; -1: not one of a layer's experts
  bool decays = true;   // whether weight decay shrinks it
  bool product = false;  // matrix products alone read it, which may keep packed copies instead (nn/linear.h)
  int64_t stacked = 1;   // matrices that lie on top of each other in it: the two of a gated network
  Slot slot;            // its place in the table

  int64_t size() const { return num_elements(shape); }
  bool trainable() const { return role != Role::kState; }
};

// Parameters that differ in the number of their expert alone, which {} in the pattern's name stands for; most families
// have one member. So a table is small, however many experts there are.
struct ParameterFamily {
  Parameter pattern;  // its slot is that of all members
  bool aligned;       // begins a tensor: the first family of one add()

  int64_t count() const { return pattern.slot.end - pattern.slot.begin; }
  int64_t size() const { return count() * pattern.size(); }  // elements of all
  Parameter member(int64_t i) const;
};

class ParameterTable {
 public:
  // One tensor, made of one parameter or of several that lie back to back (q, k and v are one matrix to their block).
  Slot add(Parameter parameter) { return add(std::vector<Parameter>{std::move(parameter)}); }
  Slot add(std::vector<Parameter> adjacent);
  // One tensor [E, ...], made of `num_experts` parameters of this shape; `pattern.name` holds {} for the number.
  Slot add_experts(Parameter pattern, int64_t num_experts);

  const std::vector<ParameterFamily>& families() const { return families_; }
  std::vector<Parameter> entries() const;  // every parameter by its own name
  int64_t num_entries() const { return num_entries_; }
  int64_t num_parameters() const { return num_parameters_; }  // elements
  Parameter find(std::string_view name) const;                // throws kData naming it
  std::optional<Parameter> find_or_null(std::string_view name) const;
  std::string_view name_of(Slot slot) const;  // of its first family, for messages

 private:
  void add_family(Parameter pattern, int64_t count, bool aligned);

  std::vector<ParameterFamily> families_;
  std::unordered_map<std::string, size_t> index_;  // by name, or pattern of names
  int64_t num_entries_ = 0, num_parameters_ = 0;
};

// Which parameters a store holds: local experts, one rank's share, those that are trained. Empty: all.
using Selection = std::function<bool(const Parameter&)>;

// Where the layers of a model lie in a store: each in its own place, or all in one, for values that are of use while
// one layer is at work.
enum class LayersLie { kApart, kTogether };

template <class real>
class ParameterStore {
 public:
  // Zeros. The table must outlive the store.
  explicit ParameterStore(const ParameterTable& table, const Selection& selected = {}, Memory& memory = host_memory(),
                          LayersLie layers = LayersLie::kApart);

  const ParameterTable& table() const { return *table_; }
  std::vector<Parameter> entries() const;  // those held
  Memory& memory() const { return values_.memory(); }

  // Zeros between tensors included. A span for writing is one change of the store: take it anew for the next.
  std::span<real> all() { return ++version_, values_.span(); }
  std::span<const real> all() const { return values_.span(); }
  // What is held of a slot, back to back.
  std::span<real> at(Slot slot) { return all().subspan(begin_of(slot), end_of(slot) - begin_of(slot)); }
  std::span<const real> at(Slot slot) const { return all().subspan(begin_of(slot), end_of(slot) - begin_of(slot)); }
  std::span<real> at(std::string_view name) { return at(table_->find(name).slot); }
  std::span<const real> at(std::string_view name) const { return at(table_->find(name).slot); }
  void set_zero();
  // The one place of all layers, with zeros where a layer is smaller, and what belongs to none; kApart: nothing, and
  // all.
  std::span<const real> layers_place() const { return all().first(place_size_); }
  std::span<const real> beside_layers() const { return all().subspan(place_size_); }
  void set_layers_place_zero();

  // Grows with every span for writing that is handed out: who keeps something made from the values (nn/linear.h) sees
  // here that it is out of date.
  uint64_t version() const { return version_; }

 private:
  size_t begin_of(Slot slot) const { return slot.empty() ? 0 : static_cast<size_t>(bounds_[slot.begin].first); }
  size_t end_of(Slot slot) const { return slot.empty() ? 0 : static_cast<size_t>(bounds_[slot.end - 1].second); }

  const ParameterTable* table_;
  std::vector<std::pair<int64_t, int64_t>> bounds_;  // of every parameter of the table; equal if it is not held
  size_t place_size_ = 0;
  Buffer<real> values_;
  uint64_t version_ = 1;
};

// A key of random numbers for what has this name.
uint64_t key_of(uint64_t seed, std::string_view name);

// Fills a store from a seed. A parameter's values depend on (seed, name) alone, so a dense model and its sparse twin
// start equal wherever they share parameters.
template <class real>
void initialize(ParameterStore<real>& store, uint64_t seed);

}  // namespace troupe
