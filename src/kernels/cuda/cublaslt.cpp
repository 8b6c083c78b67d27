#include "kernels/cuda/cublaslt.h"

#include <dlfcn.h>
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <bit>
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

const lt::Api*& stand_in() {
  static const lt::Api* api = nullptr;  // in place of the library's
  return api;
}

const lt::Api& api() { return stand_in() ? *stand_in() : library().api; }

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

// What an algorithm depends on.
using ShapeKey = std::tuple<int, int, std::array<int64_t, 10>, std::array<bool, 5>>;

ShapeKey key_of(const LtProduct& p) {
  return {p.operands,
          p.result,
          {p.a.rows, p.a.cols, p.a.stride, p.b.rows, p.b.cols, p.b.stride, p.d_rows, p.d_cols, p.d_stride,
           p.c ? p.c_stride : p.d_stride},
          {p.a.transposed, p.b.transposed, p.beta != 0.0f, p.bias != nullptr, p.sums_of_b != nullptr}};
}

// What of a product changes with its rows: columns of B, and those of D or of A.
LtProduct with_rows(LtProduct p, int64_t rows) {
  (p.b.transposed ? p.a.cols : p.d_cols) = rows;
  p.b.cols = rows;
  return p;
}

// The product whose algorithm one takes: with the next of eight numbers of rows between two powers of two, if rows
// vary.
LtProduct alike(const LtProduct& p) {
  if (!p.rows_vary) return p;
  const auto rows = static_cast<uint64_t>(p.b.cols), step = std::bit_floor(std::max<uint64_t>(rows, 8)) / 8;
  return with_rows(p, static_cast<int64_t>((rows + step - 1) / step * step));
}

// Products of a shape as the library has them, with the algorithm for them.
class Plan {
 public:
  explicit Plan(const LtProduct& p) : cols_(p.b.cols) {
    const lt::Api& lt = api();
    check(lt.create_desc(desc_.fill(), lt::kCompute32F, lt::kF32), "cublasLtMatmulDescCreate");
    set(lt.set_desc, desc_, lt::kTransA, p.a.transposed ? lt::kTransposed : lt::kPlain);
    set(lt.set_desc, desc_, lt::kTransB, p.b.transposed ? lt::kTransposed : lt::kPlain);
    if (p.bias) {
      set(lt.set_desc, desc_, lt::kEpilogue, lt::kAddBias);
      set(lt.set_desc, desc_, lt::kBiasType, p.result);
      set(lt.set_desc, desc_, lt::kBiasPointer, p.bias);
    }
    if (p.sums_of_b) {
      set(lt.set_desc, desc_, lt::kEpilogue, lt::kSumB);
      set(lt.set_desc, desc_, lt::kBiasType, lt::kF32);
      set(lt.set_desc, desc_, lt::kBiasPointer, p.sums_of_b);
    }
    layout(a_, p.operands, p.a.rows, p.a.cols, p.a.stride);
    layout(b_, p.operands, p.b.rows, p.b.cols, p.b.stride);
    layout(c_, p.result, p.d_rows, p.d_cols, p.c ? p.c_stride : p.d_stride);
    layout(d_, p.result, p.d_rows, p.d_cols, p.d_stride);
  }

  void ask_for_algorithm(lt::Handle handle) {
    const lt::Api& lt = api();
    Owned preference(lt.destroy_preference);
    check(lt.create_preference(preference.fill()), "cublasLtMatmulPreferenceCreate");
    set(lt.set_preference, preference, lt::kMaxWorkspaceBytes, static_cast<uint64_t>(kLtWorkspaceBytes));
    set(lt.set_preference, preference, lt::kReductionSchemeMask, lt::kReduceInComputeType);
    for (const auto side : {lt::kMinAlignmentA, lt::kMinAlignmentB, lt::kMinAlignmentC, lt::kMinAlignmentD})
      set(lt.set_preference, preference, side, uint32_t{16});
    lt::HeuristicResult result;
    int count = 0;
    const lt::Status status = lt.heuristic(handle, desc_, a_, b_, c_, d_, preference, 1, &result, &count);
    if (status == 0 && count > 0) algorithm_ = result;
  }

  bool has_algorithm() const { return algorithm_.has_value(); }

  // Of as many rows as `p` has.
  lt::Status multiply(lt::Handle handle, const LtProduct& p, void* workspace, lt::Stream stream) {
    const lt::Api& lt = api();
    if (p.bias) set(lt.set_desc, desc_, lt::kBiasPointer, p.bias);
    if (p.sums_of_b) set(lt.set_desc, desc_, lt::kBiasPointer, p.sums_of_b);
    if (const int64_t rows = p.b.cols; rows != cols_) {
      const auto set_cols = [&](const Owned& of) { set(lt.set_layout, of, lt::kCols, static_cast<uint64_t>(rows)); };
      set_cols(b_);
      if (p.b.transposed)
        set_cols(a_);
      else
        set_cols(c_), set_cols(d_);
      cols_ = rows;
    }
    return lt.matmul(handle, desc_, &p.alpha, p.a.data, a_, p.b.data, b_, &p.beta, p.c ? p.c : p.d, c_, p.d, d_,
                     &algorithm_->algo, workspace, static_cast<size_t>(kLtWorkspaceBytes), stream);
  }

 private:
  static void layout(Owned& owned, lt::Type type, int64_t rows, int64_t cols, int64_t stride) {
    check(api().create_layout(owned.fill(), type, static_cast<uint64_t>(rows), static_cast<uint64_t>(cols), stride),
          "cublasLtMatrixLayoutCreate");
  }

  Owned desc_{api().destroy_desc}, a_{api().destroy_layout}, b_{api().destroy_layout}, c_{api().destroy_layout},
      d_{api().destroy_layout};
  int64_t cols_;                                  // of b_ now
  std::optional<lt::HeuristicResult> algorithm_;  // none: the library has none
};

// Made once a shape.
struct Plans {
  lt::Handle handle = nullptr;
  std::map<ShapeKey, Plan> by_shape;
  std::mutex mutex;  // of both, and of each plan

  Plan& of(const LtProduct& p) {
    if (!handle) check(api().create(&handle), "cublasLtCreate");
    const auto [found, is_new] = by_shape.try_emplace(key_of(p), p);
    if (is_new) found->second.ask_for_algorithm(handle);
    return found->second;
  }
};

Plans& plans() {
  static Plans plans;
  return plans;
}

}  // namespace

std::string lt_unavailable() {
  if (!machine()) return unavailable();
  if (stand_in()) return {};
  return machine()->stream() ? library().problem : "the grid is emulated";
}

std::string lt_description() {
  const Library& found = library();
  if (!found.problem.empty()) return fmt::format("{} (set {})", found.problem, kLibraryFoldersVariable);
  const size_t version = found.api.version();
  return fmt::format("{}.{}.{} ({})", version / 10000, version / 100 % 100, version % 100, found.path);
}

void lt_use(const lt::Api* api) {
  plans().by_shape.clear();
  plans().handle = nullptr;
  stand_in() = api;
}

bool lt_takes(const LtProduct& p) {
  if (p.d_rows == 0 || p.d_cols == 0) return true;
  const std::lock_guard lock(plans().mutex);
  return plans().of(alike(p)).has_algorithm();
}

void lt_multiply(const LtProduct& p, Context& context) {
  if (p.d_rows == 0 || p.d_cols == 0) return;
  const lt::Stream stream = machine()->stream();
  const Context::Lease workspace(context, kLtWorkspaceBytes);
  {
    Plans& all = plans();
    const std::lock_guard lock(all.mutex);
    const auto multiply = [&](Plan& plan) {
      if (!plan.has_algorithm())
        fail(ErrorCode::kEnvironment, "cuBLASLt: expected an algorithm for {} x {} x {}, got none", p.d_rows, p.d_cols,
             p.a.transposed ? p.a.rows : p.a.cols);
      return plan.multiply(all.handle, p, workspace.data(), stream);
    };
    lt::Status status = multiply(all.of(alike(p)));
    if (status != 0 && p.rows_vary) status = multiply(all.of(p));  // what is alike may take another one
    check(status, "cublasLtMatmul");
  }
  machine()->asked("cublasLtMatmul", std::array{p.a.data, p.b.data, p.c, p.bias, static_cast<const void*>(p.sums_of_b),
                                                static_cast<const void*>(p.d)});
}

}  // namespace troupe::cuda
