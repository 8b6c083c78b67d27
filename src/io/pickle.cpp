// The stack machine behind Pickle. Opcodes and their meaning: Lib/pickletools.py of CPython.
#include "io/pickle.h"

#include <array>
#include <bit>
#include <cstring>
#include <optional>
#include <unordered_map>
#include <utility>

#include "base/error.h"

namespace troupe {
namespace {

using Id = PickleValue::Id;
using Kind = PickleValue::Kind;

constexpr size_t kMaxBytes = size_t{1} << 28;
constexpr size_t kMaxValues = size_t{1} << 20;
constexpr size_t kMaxTensorDimensions = 64;

enum Opcode : uint8_t {
  kMark = '(',
  kStop = '.',
  kPop = '0',
  kPopMark = '1',
  kDup = '2',
  kBinFloat = 'G',
  kBinInt = 'J',
  kBinInt1 = 'K',
  kBinInt2 = 'M',
  kNoneOp = 'N',
  kBinPersId = 'Q',
  kReduce = 'R',
  kBinString = 'T',
  kShortBinString = 'U',
  kBinUnicode = 'X',
  kAppend = 'a',
  kBuild = 'b',
  kGlobalOp = 'c',
  kAppends = 'e',
  kBinGet = 'h',
  kLongBinGet = 'j',
  kBinPut = 'q',
  kLongBinPut = 'r',
  kSetItem = 's',
  kTuple = 't',
  kSetItems = 'u',
  kEmptyList = ']',
  kEmptyTuple = ')',
  kEmptyDict = '}',
  kDict = 'd',
  kList = 'l',
  kBinBytes = 'B',
  kShortBinBytes = 'C',
  kProto = 0x80,
  kNewObj = 0x81,
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kNewTrue = 0x88,
  kNewFalse = 0x89,
  kLong1 = 0x8a,
  kLong4 = 0x8b,
  kShortBinUnicode = 0x8c,
  kBinUnicode8 = 0x8d,
  kBinBytes8 = 0x8e,
  kEmptySet = 0x8f,
  kAddItems = 0x90,
  kFrozenSet = 0x91,
  kNewObjEx = 0x92,
  kStackGlobal = 0x93,
  kMemoize = 0x94,
  kFrame = 0x95,
  kByteArray8 = 0x96,
};

bool is_read_as_dict(std::string_view name) {
  return name == "argparse.Namespace" || name == "omegaconf.dictconfig.DictConfig";
}

bool is_read_as_data(std::string_view name) { return is_read_as_dict(name) || name.starts_with("omegaconf."); }

}  // namespace

class PickleMachine {
 public:
  PickleMachine(std::span<const uint8_t> bytes, const std::string& where, Pickle& out)
      : bytes_(bytes), where_(where), out_(out) {}

  void run() {
    if (bytes_.size() > kMaxBytes) refuse("expected at most {} bytes, got {}", kMaxBytes, bytes_.size());
    for (;;) {
      start_ = at_;
      const uint8_t opcode = read<uint8_t>();
      if (opcode == kStop) break;
      step(opcode);
    }
    out_.root_ = pop();
  }

 private:
  template <class... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) const {
    fail(ErrorCode::kData, "{}: byte {}: {}", where_, start_, fmt::format(format, std::forward<Args>(args)...));
  }

  // ---- input ----
  std::string_view take(uint64_t size) {
    if (size > bytes_.size() - at_)
      refuse("expected {} more bytes, got {} (truncated pickle)", size, bytes_.size() - at_);
    const std::string_view text(reinterpret_cast<const char*>(bytes_.data()) + at_, size);
    at_ += size;
    return text;
  }
  template <class T>
  T read() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  std::string_view read_line() {
    const size_t begin = at_;
    while (read<uint8_t>() != '\n') {
    }
    return {reinterpret_cast<const char*>(bytes_.data()) + begin, at_ - begin - 1};
  }

  // ---- stack ----
  PickleValue& value(Id id) { return out_.values_[id]; }
  Id add(PickleValue made) {
    if (out_.values_.size() >= kMaxValues) refuse("expected at most {} values", kMaxValues);
    out_.values_.push_back(std::move(made));
    return static_cast<Id>(out_.values_.size() - 1);
  }
  void push(PickleValue made) { stack_.push_back(add(std::move(made))); }
  Id pop() {
    const size_t floor = marks_.empty() ? 0 : marks_.back();
    if (stack_.size() <= floor) refuse("expected a value on the stack, got none");
    const Id id = stack_.back();
    stack_.pop_back();
    return id;
  }
  Id& top() {
    const size_t floor = marks_.empty() ? 0 : marks_.back();
    if (stack_.size() <= floor) refuse("expected a value on the stack, got none");
    return stack_.back();
  }
  std::vector<Id> pop_to_mark() {
    if (marks_.empty()) refuse("expected a mark on the stack, got none");
    const auto begin = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<Id> items(begin, stack_.end());
    stack_.erase(begin, stack_.end());
    marks_.pop_back();
    return items;
  }
  void push_list(Kind kind, std::vector<Id> items) { push({.kind = kind, .items = std::move(items)}); }
  void push_text(Kind kind, std::string_view text) { push({.kind = kind, .text = std::string(text)}); }
  std::vector<Id> in_pairs(std::vector<Id> items) const {
    if (items.size() % 2) refuse("expected pairs for a dict, got {} values", items.size());
    return items;
  }
  void push_tuple(size_t size) {
    std::vector<Id> items(size);
    for (size_t i = size; i > 0; --i) items[i - 1] = pop();
    push_list(Kind::kTuple, std::move(items));
  }
  void remember(uint64_t slot) { memo_[slot] = top(); }
  void recall(uint64_t slot) {
    const auto found = memo_.find(slot);
    if (found == memo_.end()) refuse("expected a remembered value {}, got none", slot);
    stack_.push_back(found->second);
  }

  // ---- opcodes: a group of them returns whether it has this one ----
  void step(uint8_t opcode);
  bool step_frame(uint8_t opcode);
  bool step_number(uint8_t opcode);
  bool step_text(uint8_t opcode);
  bool step_container(uint8_t opcode);
  bool step_memo(uint8_t opcode);
  bool step_object(uint8_t opcode);
  void push_long(uint64_t size);
  void add_items(const std::vector<Id>& items);
  void set_items(std::vector<Id> unpaired);
  void build(Id state);
  void push_storage(Id id);
  void call(Id callable, Id arguments);
  std::optional<PickleValue> tensor_from(const std::vector<Id>& arguments);
  std::vector<int64_t> integers_of(Id id);
  void push_object(std::string name, std::vector<Id> arguments) {
    if (!is_read_as_data(name)) ++out_.inert_[name];
    push({.kind = Kind::kObject, .text = std::move(name), .items = std::move(arguments)});
  }

  std::span<const uint8_t> bytes_;
  const std::string& where_;
  Pickle& out_;
  size_t at_ = 0, start_ = 0;
  std::vector<Id> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint64_t, Id> memo_;
};

void PickleMachine::step(uint8_t opcode) {
  if (!step_frame(opcode) && !step_number(opcode) && !step_text(opcode) && !step_container(opcode) &&
      !step_memo(opcode) && !step_object(opcode))
    refuse("expected an opcode of pickle protocols 2 to 5, got 0x{:02x}", opcode);
}

// The frame of a pickle and the stack itself.
bool PickleMachine::step_frame(uint8_t opcode) {
  switch (opcode) {
    case kProto:
      if (const auto protocol = read<uint8_t>(); protocol < 2 || protocol > 5)
        refuse("expected a pickle of protocol 2 to 5, got {}", protocol);
      return true;
    case kFrame:
      return read<uint64_t>(), true;
    case kMark:
      return marks_.push_back(stack_.size()), true;
    case kPop:
      if (!marks_.empty() && stack_.size() == marks_.back())
        marks_.pop_back();
      else
        pop();
      return true;
    case kPopMark:
      return pop_to_mark(), true;
    case kDup:
      return stack_.push_back(top()), true;
  }
  return false;
}

bool PickleMachine::step_number(uint8_t opcode) {
  switch (opcode) {
    case kNoneOp:
      return push({}), true;
    case kNewTrue:
      return push({.kind = Kind::kBool, .integer = 1}), true;
    case kNewFalse:
      return push({.kind = Kind::kBool}), true;
    case kBinInt:
      return push({.kind = Kind::kInt, .integer = read<int32_t>()}), true;
    case kBinInt1:
      return push({.kind = Kind::kInt, .integer = read<uint8_t>()}), true;
    case kBinInt2:
      return push({.kind = Kind::kInt, .integer = read<uint16_t>()}), true;
    case kLong1:
      return push_long(read<uint8_t>()), true;
    case kLong4:
      return push_long(read<uint32_t>()), true;
    case kBinFloat:
      return push({.kind = Kind::kFloat, .real = std::bit_cast<double>(__builtin_bswap64(read<uint64_t>()))}), true;
  }
  return false;
}

bool PickleMachine::step_text(uint8_t opcode) {
  switch (opcode) {
    case kShortBinUnicode:
    case kShortBinString:  // str of Python 2
      return push_text(Kind::kString, take(read<uint8_t>())), true;
    case kBinUnicode:
    case kBinString:
      return push_text(Kind::kString, take(read<uint32_t>())), true;
    case kBinUnicode8:
      return push_text(Kind::kString, take(read<uint64_t>())), true;
    case kShortBinBytes:
      return push_text(Kind::kBytes, take(read<uint8_t>())), true;
    case kBinBytes:
      return push_text(Kind::kBytes, take(read<uint32_t>())), true;
    case kBinBytes8:
    case kByteArray8:
      return push_text(Kind::kBytes, take(read<uint64_t>())), true;
  }
  return false;
}

bool PickleMachine::step_container(uint8_t opcode) {
  switch (opcode) {
    case kEmptyTuple:
      return push_list(Kind::kTuple, {}), true;
    case kTuple1:
      return push_tuple(1), true;
    case kTuple2:
      return push_tuple(2), true;
    case kTuple3:
      return push_tuple(3), true;
    case kTuple:
      return push_list(Kind::kTuple, pop_to_mark()), true;
    case kEmptyList:
      return push_list(Kind::kList, {}), true;
    case kList:
      return push_list(Kind::kList, pop_to_mark()), true;
    case kEmptySet:
      return push_list(Kind::kSet, {}), true;
    case kFrozenSet:
      return push_list(Kind::kSet, pop_to_mark()), true;
    case kEmptyDict:
      return push_list(Kind::kDict, {}), true;
    case kDict:
      return push_list(Kind::kDict, in_pairs(pop_to_mark())), true;
    case kAppend:
      return add_items({pop()}), true;
    case kAppends:
    case kAddItems:
      return add_items(pop_to_mark()), true;
    case kSetItem: {
      const Id item = pop(), key = pop();
      return set_items({key, item}), true;
    }
    case kSetItems:
      return set_items(pop_to_mark()), true;
  }
  return false;
}

bool PickleMachine::step_memo(uint8_t opcode) {
  switch (opcode) {
    case kBinPut:
      return remember(read<uint8_t>()), true;
    case kLongBinPut:
      return remember(read<uint32_t>()), true;
    case kMemoize:
      return remember(memo_.size()), true;
    case kBinGet:
      return recall(read<uint8_t>()), true;
    case kLongBinGet:
      return recall(read<uint32_t>()), true;
  }
  return false;
}

// What Python would import, call and construct.
bool PickleMachine::step_object(uint8_t opcode) {
  switch (opcode) {
    case kGlobalOp: {
      const std::string_view module = read_line(), name = read_line();
      return push_text(Kind::kGlobal, fmt::format("{}.{}", module, name)), true;
    }
    case kStackGlobal: {
      const Id name = pop(), module = pop();
      if (value(name).kind != Kind::kString || value(module).kind != Kind::kString)
        refuse("expected two strings for a global, got {} and {}", name_of(value(module).kind),
               name_of(value(name).kind));
      // A long remembered string could be doubled at every step; no real name is that long.
      if (value(name).text.size() + value(module).text.size() > 512)
        refuse("expected a global's name, got a long text");
      return push_text(Kind::kGlobal, fmt::format("{}.{}", value(module).text, value(name).text)), true;
    }
    case kBinPersId:
      return push_storage(pop()), true;
    case kNewObjEx:
      pop();  // keyword arguments
      [[fallthrough]];
    case kReduce:
    case kNewObj: {
      const Id arguments = pop(), callable = pop();
      return call(callable, arguments), true;
    }
    case kBuild:
      return build(pop()), true;
  }
  return false;
}

void PickleMachine::push_long(uint64_t size) {
  const std::string_view digits = take(size);
  if (size > 8) return push_object("an integer of more than 64 bits", {});
  uint64_t bits = size > 0 && (digits.back() & 0x80) ? ~uint64_t{0} : 0;  // sign extension
  std::memcpy(&bits, digits.data(), size);
  push({.kind = Kind::kInt, .integer = static_cast<int64_t>(bits)});
}

void PickleMachine::add_items(const std::vector<Id>& items) {
  PickleValue& target = value(top());
  if (target.kind != Kind::kList && target.kind != Kind::kSet && target.kind != Kind::kObject)
    refuse("expected a list to append to, got {}", name_of(target.kind));
  target.items.insert(target.items.end(), items.begin(), items.end());
}

void PickleMachine::set_items(std::vector<Id> unpaired) {
  const std::vector<Id> items = in_pairs(std::move(unpaired));
  PickleValue& target = value(top());
  if (target.kind != Kind::kDict && target.kind != Kind::kObject)
    refuse("expected a dict to add to, got {}", name_of(target.kind));
  std::vector<Id>& list = target.kind == Kind::kDict ? target.items : target.entries;
  list.insert(list.end(), items.begin(), items.end());
}

// obj.__setstate__(state): kept for objects. A dict (OrderedDict) has attributes such as torch's _metadata, which say
// nothing about its contents.
void PickleMachine::build(Id state) {
  PickleValue& target = value(top());
  if (target.kind == Kind::kObject) target.state = state;
}

// ('storage', type, name of its data, device, number of elements)
void PickleMachine::push_storage(Id id) {
  const std::vector<Id>& parts = value(id).items;
  if (value(id).kind != Kind::kTuple || parts.size() < 5 || value(parts[0]).text != "storage" ||
      value(parts[1]).kind != Kind::kGlobal || value(parts[2]).kind != Kind::kString ||
      value(parts[4]).kind != Kind::kInt || value(parts[4]).integer < 0)
    refuse("expected a persistent id ('storage', type, name, device, size), got {}", name_of(value(id).kind));
  const std::string& type = value(parts[1]).text;
  PickleValue storage{.kind = Kind::kStorage, .integer = value(parts[4]).integer, .text = value(parts[2]).text};
  storage.type = type.substr(type.rfind('.') + 1);
  push(std::move(storage));
}

std::vector<int64_t> PickleMachine::integers_of(Id id) {
  std::vector<int64_t> numbers;
  if (value(id).kind != Kind::kTuple && value(id).kind != Kind::kList)
    refuse("expected a tensor's sizes, got {}", name_of(value(id).kind));
  if (value(id).items.size() > kMaxTensorDimensions)
    refuse("expected a tensor of at most {} dimensions, got {}", kMaxTensorDimensions, value(id).items.size());
  for (const Id item : value(id).items) {
    if (value(item).kind != Kind::kInt) refuse("expected a tensor's sizes, got {}", name_of(value(item).kind));
    numbers.push_back(value(item).integer);
  }
  return numbers;
}

// Arguments of torch._utils._rebuild_tensor_v2: (storage, offset, size, stride, requires_grad, hooks, ...).
std::optional<PickleValue> PickleMachine::tensor_from(const std::vector<Id>& arguments) {
  if (arguments.size() < 4 || value(arguments[0]).kind != Kind::kStorage || value(arguments[1]).kind != Kind::kInt)
    return std::nullopt;
  PickleValue tensor{.kind = Kind::kTensor, .integer = value(arguments[1]).integer, .items = {arguments[0]}};
  tensor.shape = integers_of(arguments[2]);
  tensor.stride = integers_of(arguments[3]);
  if (tensor.shape.size() != tensor.stride.size())
    refuse("expected a stride for each of {} dimensions, got {}", tensor.shape.size(), tensor.stride.size());
  return tensor;
}

// A call or construction that Python would make. Only what is pure data becomes data.
void PickleMachine::call(Id callable, Id arguments) {
  if (value(arguments).kind != Kind::kTuple)
    refuse("expected a tuple of arguments, got {}", name_of(value(arguments).kind));
  if (value(callable).kind != Kind::kGlobal)
    return push_object(fmt::format("a call of {}", name_of(value(callable).kind)), {});
  const std::string name = value(callable).text;
  const std::vector<Id>& items = value(arguments).items;
  if (name == "collections.OrderedDict" && items.empty()) return push_list(Kind::kDict, {});
  if (name == "torch._utils._rebuild_tensor_v2" || name == "torch._utils._rebuild_tensor")
    if (std::optional<PickleValue> tensor = tensor_from(items)) return push(std::move(*tensor));
  if (name.starts_with("torch._utils._rebuild_parameter") && !items.empty()) return stack_.push_back(items[0]);
  if (name == "_codecs.encode" && !items.empty()) return stack_.push_back(items[0]);  // bytes in protocol 2
  if ((name == "copyreg._reconstructor" || name == "copy_reg._reconstructor") && !items.empty() &&
      value(items[0]).kind == Kind::kGlobal)
    return push_object(value(items[0]).text, {});
  // The arguments stay visible through the tuple itself; copying a remembered one at every call would let a small
  // file fill the memory.
  push_object(name, {arguments});
}

Pickle::Pickle(std::span<const uint8_t> bytes, const std::string& where) { PickleMachine(bytes, where, *this).run(); }

const PickleValue& Pickle::unwrap(const PickleValue& value) const {
  if (value.kind != Kind::kObject || !value.text.starts_with("omegaconf.") || value.state == PickleValue::kNoId)
    return value;
  const PickleValue& state = values_[value.state];
  if (state.kind != Kind::kDict) return value;
  for (size_t i = 0; i + 1 < state.items.size(); i += 2)
    if (const std::string& key = values_[state.items[i]].text; key == "_val" || key == "_content")
      return values_[state.items[i + 1]];
  return value;
}

std::vector<std::pair<const PickleValue*, const PickleValue*>> Pickle::pairs(const PickleValue& container) const {
  const PickleValue* dict = &unwrap(container);
  if (dict->kind == Kind::kObject && is_read_as_dict(dict->text) && dict->state != PickleValue::kNoId)
    dict = &values_[dict->state];
  std::vector<std::pair<const PickleValue*, const PickleValue*>> found;
  if (dict->kind == Kind::kDict)
    for (size_t i = 0; i + 1 < dict->items.size(); i += 2)
      found.emplace_back(&values_[dict->items[i]], &unwrap(values_[dict->items[i + 1]]));
  return found;
}

const PickleValue* Pickle::find(const PickleValue& container, std::string_view key) const {
  const PickleValue* last = nullptr;  // of equal keys Python keeps the last
  for (const auto& [name, value] : pairs(container))
    if (name->kind == Kind::kString && name->text == key) last = value;
  return last;
}

std::string_view name_of(PickleValue::Kind kind) {
  static constexpr std::array<std::string_view, 14> kNames = {
      "None",    "a bool", "an integer", "a float",  "a string",  "bytes",     "a list",
      "a tuple", "a set",  "a dict",     "a global", "an object", "a storage", "a tensor"};
  return kNames[static_cast<size_t>(kind)];
}

}  // namespace troupe
