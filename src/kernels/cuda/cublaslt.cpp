#include "kernels/cuda/cublaslt.h"

#include <dlfcn.h>
#include <fmt/core.h>

#include <array>
#include <map>
#include <mutex>
#include <optional>
#include <tuple>

#include "base/error.h"
#include "kernels/cuda/libraries.h"
#include "kernels/cuda/machine.h"

namespace troupe::cuda {
namespace {

struct Library {
  lt::Api api;
  std::string path, problem = "libcublasLt.so.13 (or .12) is not there";

  Library() {
    void* const handle = open_library({"libcublasLt.so.13", "libcublasLt.so.12"});
    if (!handle) return;
    problem.clear();
#define TROUPE_LT(result, name, symbol, parameters)                                       \
  if (api.name = reinterpret_cast<decltype(api.name)>(dlsym(handle, #symbol)); !api.name) \
    problem = fmt::format("the library has no {}", #symbol);
    TROUPE_LT_FUNCTIONS
#undef TROUPE_LT
    if (!problem.empty()) return;
    path = path_of(reinterpret_cast<void*>(api.create));
  }
};

const Library& library() {
  static const Library library;
  return library;
}

// What an algorithm depends on.
using ShapeKey = std::tuple<int, int, std::array<int64_t, 10>, std::array<bool, 4>>;

struct State {
  const lt::Api* api = nullptr;  // in place of the library's
  lt::Handle handle = nullptr;
  std::map<ShapeKey, std::optional<lt::HeuristicResult>> algorithms;  // none: the library has none
  std::mutex mutex;
};

State& state() {
  static State state;
  return state;
}

const lt::Api& api() { return state().api ? *state().api : library().api; }

void check(lt::Status status, const char* what) {
  if (status != 0)
    fail(ErrorCode::kEnvironment, "cuBLASLt: {}: expected success, got {} ({})", what, status,
         api().status_text(status));
}

// An object of the library, given back at the end of the scope.
class Owned {
 public:
  explicit Owned(lt::Status (*destroy)(void*)) : destroy_(destroy) {}
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  ~Owned() {
    if (object_) destroy_(object_);
  }
  void** fill() { return &object_; }
  operator void*() const { return object_; }

 private:
  lt::Status (*destroy_)(void*);
  void* object_ = nullptr;
};

template <class Attribute, class T>
void set(lt::Status (*set_one)(void*, Attribute, const void*, size_t), void* object, Attribute attribute,
         const T& value) {
  check(set_one(object, attribute, &value, sizeof(value)), "an attribute");
}

ShapeKey key_of(const LtProduct& p) {
  return {p.operands,
          p.result,
          {p.a.rows, p.a.cols, p.a.stride, p.b.rows, p.b.cols, p.b.stride, p.d_rows, p.d_cols, p.d_stride,
           p.c ? p.c_stride : p.d_stride},
          {p.a.transposed, p.b.transposed, p.beta != 0.0f, p.bias != nullptr}};
}

// A product as the library has it.
struct Objects {
  explicit Objects(const LtProduct& p) {
    const lt::Api& lt = api();
    check(lt.create_desc(desc.fill(), lt::kCompute32F, lt::kF32), "cublasLtMatmulDescCreate");
    set(lt.set_desc, desc, lt::kTransA, p.a.transposed ? lt::kTransposed : lt::kPlain);
    set(lt.set_desc, desc, lt::kTransB, p.b.transposed ? lt::kTransposed : lt::kPlain);
    if (p.bias) {
      set(lt.set_desc, desc, lt::kEpilogue, lt::kAddBias);
      set(lt.set_desc, desc, lt::kBiasType, p.result);
      set(lt.set_desc, desc, lt::kBiasPointer, p.bias);
    }
    layout(a, p.operands, p.a.rows, p.a.cols, p.a.stride);
    layout(b, p.operands, p.b.rows, p.b.cols, p.b.stride);
    layout(c, p.result, p.d_rows, p.d_cols, p.c ? p.c_stride : p.d_stride);
    layout(d, p.result, p.d_rows, p.d_cols, p.d_stride);
  }

  // Asked for once a shape.
  std::optional<lt::HeuristicResult> algorithm(const LtProduct& p) const {
    const lt::Api& lt = api();
    State& shared = state();
    const std::lock_guard lock(shared.mutex);
    if (!shared.handle) check(lt.create(&shared.handle), "cublasLtCreate");
    const auto [found, is_new] = shared.algorithms.try_emplace(key_of(p));
    if (!is_new) return found->second;
    Owned preference(lt.destroy_preference);
    check(lt.create_preference(preference.fill()), "cublasLtMatmulPreferenceCreate");
    set(lt.set_preference, preference, lt::kMaxWorkspaceBytes, static_cast<uint64_t>(kLtWorkspaceBytes));
    set(lt.set_preference, preference, lt::kReductionSchemeMask, lt::kReduceInComputeType);
    for (const auto side : {lt::kMinAlignmentA, lt::kMinAlignmentB, lt::kMinAlignmentC, lt::kMinAlignmentD})
      set(lt.set_preference, preference, side, uint32_t{16});
    lt::HeuristicResult result;
    int count = 0;
    const lt::Status status = lt.heuristic(shared.handle, desc, a, b, c, d, preference, 1, &result, &count);
    if (status == 0 && count > 0) found->second = result;
    return found->second;
  }

  static void layout(Owned& owned, lt::Type type, int64_t rows, int64_t cols, int64_t stride) {
    check(api().create_layout(owned.fill(), type, static_cast<uint64_t>(rows), static_cast<uint64_t>(cols), stride),
          "cublasLtMatrixLayoutCreate");
  }

  Owned desc{api().destroy_desc}, a{api().destroy_layout}, b{api().destroy_layout}, c{api().destroy_layout},
      d{api().destroy_layout};
};

}  // namespace

std::string lt_unavailable() {
  if (!machine()) return unavailable();
  if (state().api) return {};
  return machine()->stream() ? library().problem : "the grid is emulated";
}

std::string lt_description() {
  const Library& found = library();
  if (!found.problem.empty()) return fmt::format("{} (set {})", found.problem, kLibraryFoldersVariable);
  const size_t version = found.api.version();
  return fmt::format("{}.{}.{} ({})", version / 10000, version / 100 % 100, version % 100, found.path);
}

void lt_use(const lt::Api* api) {
  state().api = api;
  state().handle = nullptr;
  state().algorithms.clear();
}

bool lt_takes(const LtProduct& p) {
  if (p.d_rows == 0 || p.d_cols == 0) return true;
  {
    const std::lock_guard lock(state().mutex);
    const auto found = state().algorithms.find(key_of(p));
    if (found != state().algorithms.end()) return found->second.has_value();
  }
  return Objects(p).algorithm(p).has_value();
}

void lt_multiply(const LtProduct& p, Context& context) {
  if (p.d_rows == 0 || p.d_cols == 0) return;
  const lt::Stream stream = machine()->stream();
  const Objects objects(p);
  const std::optional<lt::HeuristicResult> chosen = objects.algorithm(p);
  if (!chosen)
    fail(ErrorCode::kEnvironment, "cuBLASLt: expected an algorithm for {} x {} x {}, got none", p.d_rows, p.d_cols,
         p.a.transposed ? p.a.rows : p.a.cols);
  const Context::Lease workspace(context, kLtWorkspaceBytes);
  check(api().matmul(state().handle, objects.desc, &p.alpha, p.a.data, objects.a, p.b.data, objects.b, &p.beta,
                     p.c ? p.c : p.d, objects.c, p.d, objects.d, &chosen->algo, workspace.data(),
                     static_cast<size_t>(kLtWorkspaceBytes), stream),
        "cublasLtMatmul");
  machine()->asked("cublasLtMatmul", std::array{p.a.data, p.b.data, p.c, p.bias, static_cast<const void*>(p.d)});
}

}  // namespace troupe::cuda
