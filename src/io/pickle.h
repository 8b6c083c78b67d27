// Python pickles (protocols 2 to 5) as inert data. The reader is a stack machine that builds a graph of values and
// never imports, calls or constructs anything: a global is its name, a call or object of an unknown class is an
// `object` value that keeps its name, arguments and state for looking at. Known here are only collections.OrderedDict
// (a dict), torch's tensors and storages, argparse.Namespace and omegaconf's containers (read as dicts).
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace troupe {

struct PickleValue {
  using Id = uint32_t;  // index into Pickle::values(); lists may contain themselves, so walk with care
  static constexpr Id kNoId = UINT32_MAX;

  enum class Kind {
    kNone,
    kBool,     // integer
    kInt,      // integer
    kFloat,    // real
    kString,   // text
    kBytes,    // text
    kList,     // items
    kTuple,    // items
    kSet,      // items
    kDict,     // items: key, value, key, value, ...
    kGlobal,   // text: "module.name"
    kObject,   // text: class or function; items: arguments; state; entries: as in a dict
    kStorage,  // text: name of its data; type: "FloatStorage"; integer: number of elements
    kTensor,   // items: [storage]; integer: offset in the storage; shape and stride, in elements
  };

  Kind kind = Kind::kNone;
  int64_t integer = 0;
  double real = 0.0;
  std::string text = {};
  std::string type = {};
  std::vector<Id> items = {};
  std::vector<Id> entries = {};
  Id state = kNoId;
  std::vector<int64_t> shape = {}, stride = {};
};

class Pickle {
 public:
  using Id = PickleValue::Id;
  using Kind = PickleValue::Kind;

  // Throws kData "WHERE: byte N: ...": truncation, an opcode outside protocols 2 to 5, a wrong stack, more than one
  // million values, more than 256 MiB. Memory is proportional to the input.
  Pickle(std::span<const uint8_t> bytes, const std::string& where);

  const PickleValue& root() const { return values_[root_]; }
  const PickleValue& at(Id id) const { return values_[id]; }

  // The value under a string key of a dict, Namespace or omegaconf container, unwrapped; nullptr if there is none.
  const PickleValue* find(const PickleValue& container, std::string_view key) const;
  // The (key, value) pairs of the same.
  std::vector<std::pair<const PickleValue*, const PickleValue*>> pairs(const PickleValue& container) const;

  // Names of calls and classes that were met and not executed, with how often; the ones read as data are not listed.
  const std::map<std::string, int64_t>& inert() const { return inert_; }

 private:
  friend class PickleMachine;
  const PickleValue& unwrap(const PickleValue& value) const;

  std::vector<PickleValue> values_;
  Id root_ = 0;
  std::map<std::string, int64_t> inert_;
};

std::string_view name_of(PickleValue::Kind kind);  // "a list", "None", ... for messages

}  // namespace troupe
