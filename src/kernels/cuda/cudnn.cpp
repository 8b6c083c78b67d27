#include "kernels/cuda/cudnn.h"

#include <dlfcn.h>
#include <fmt/core.h>

#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "base/error.h"
#include "kernels/cuda/libraries.h"
#include "kernels/cuda/machine.h"

#ifdef TROUPE_CUDNN
#include <cudnn_frontend.h>

namespace cudnn_frontend {
void* cudnn_dlhandle = nullptr;  // where the frontend looks for the library's functions
}
#endif

namespace troupe::cuda {
namespace {

DnnStandIn stand_in_use = nullptr;

std::string dnn_version_text(int64_t version) {
  return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

struct DnnLibrary {
  std::string path, problem;
  int64_t version = 0;

  DnnLibrary() { problem = load(); }

 private:
  std::string load() {
#ifdef TROUPE_CUDNN
    void* const handle = open_library({"libcudnn.so.9"});
    if (!handle) return "libcudnn.so.9 is not there";
    const auto version_of = reinterpret_cast<size_t (*)()>(dlsym(handle, "cudnnGetVersion"));
    if (!version_of) return "the library has no cudnnGetVersion";
    // The frontend asks the CUDA runtime for the card's name and level: the one loaded here is the one that it finds.
    if (!open_library({"libcudart.so.13", "libcudart.so.12"}))
      return "libcudart.so.13 (or .12), which it needs, is not there";
    cudnn_frontend::cudnn_dlhandle = handle;
    path = path_of(reinterpret_cast<void*>(version_of));
    version = static_cast<int64_t>(version_of());
    return dnn_version_problem(version, false);
#else
    return "this program was built without its headers (tools/gpu/headers.sh)";
#endif
  }
};

const DnnLibrary& dnn_library() {
  static const DnnLibrary library;
  return library;
}

#ifdef TROUPE_CUDNN

namespace fe = cudnn_frontend;

struct Plan {
  fe::graph::Graph graph;
  int64_t workspace_bytes = 0;
  std::string problem;
};

struct DnnState {
  std::mutex mutex;
  cudnnHandle_t handle = nullptr;
  std::map<DnnAttention, Plan> plans;
};

// Never destroyed: at the end of the process the driver may be gone before it.
DnnState& dnn_state() {
  static DnnState& state = *new DnnState;
  return state;
}

// An error's text in one line.
std::string text_of(fe::error_t error) {
  std::string text = error.get_message();
  for (char& c : text)
    if (c == '\n') c = ' ';
  return text.empty() ? "no reason given" : text;
}

constexpr int64_t uid_of(int tensor) { return tensor + 1; }

fe::graph::Tensor_attributes attributes(const DnnAttention& a, int tensor) {
  static constexpr const char* kNames[] = {"q", "k", "v", "ctx", "lse", "dctx", "dq", "dk", "dv"};
  fe::graph::Tensor_attributes attributes;
  attributes.set_name(kNames[tensor]).set_uid(uid_of(tensor));
  if (tensor == kDnnLse)
    return attributes.set_dim({a.B, a.H, a.S, 1})
        .set_stride({a.H * a.S, a.S, 1, 1})
        .set_data_type(fe::DataType_t::FLOAT);
  const int64_t stride = a.strides[static_cast<size_t>(tensor)];
  return attributes.set_dim({a.B, a.heads(tensor), a.S, a.C})
      .set_stride({a.S * stride, a.C, stride, 1})
      .set_data_type(fe::DataType_t::BFLOAT16);
}

// What the forward and the backward pass are told alike.
template <class Attributes>
Attributes options_of(const DnnAttention& a) {
  Attributes options;
  options.set_name("attention").set_attn_scale(a.scale);
  options.set_diagonal_alignment(fe::DiagonalAlignment_t::TOP_LEFT).set_diagonal_band_right_bound(0);
  if (a.window > 0 && a.window < a.S) options.set_diagonal_band_left_bound(static_cast<int>(a.window));
  return options;
}

void describe(const DnnAttention& a, fe::graph::Graph& graph) {
  graph.set_io_data_type(fe::DataType_t::BFLOAT16)
      .set_intermediate_data_type(fe::DataType_t::FLOAT)
      .set_compute_data_type(fe::DataType_t::FLOAT);
  const auto input = [&](int tensor) { return graph.tensor(attributes(a, tensor)); };
  const auto output = [&](const std::shared_ptr<fe::graph::Tensor_attributes>& made, int tensor) {
    const fe::graph::Tensor_attributes wanted = attributes(a, tensor);
    made->set_output(true).set_uid(wanted.get_uid()).set_data_type(wanted.get_data_type());
    made->set_dim(wanted.get_dim()).set_stride(wanted.get_stride());
  };
  const auto q = input(kDnnQ), k = input(kDnnK), v = input(kDnnV);
  if (a.backward) {
    const auto ctx = input(kDnnCtx), lse = input(kDnnLse), dctx = input(kDnnDctx);
    const auto options =
        options_of<fe::graph::SDPA_backward_attributes>(a).set_deterministic_algorithm(a.deterministic);
    const auto [dq, dk, dv] = graph.sdpa_backward(q, k, v, ctx, dctx, lse, options);
    output(dq, kDnnDq), output(dk, kDnnDk), output(dv, kDnnDv);
  } else {
    const auto [ctx, lse] = graph.sdpa(q, k, v, options_of<fe::graph::SDPA_attributes>(a).set_generate_stats(true));
    output(ctx, kDnnCtx), output(lse, kDnnLse);
  }
}

// Leaves in `plan` a graph that runs, or its problem.
void build(const DnnAttention& a, cudnnHandle_t& handle, Plan& plan) try {
  if (!handle)
    if (const cudnnStatus_t status = fe::detail::create_handle(&handle); status != CUDNN_STATUS_SUCCESS) {
      handle = nullptr;
      plan.problem = fmt::format("cuDNN does not start: {}", fe::detail::get_error_string(status));
      return;
    }
  describe(a, plan.graph);
  fe::error_t error = plan.graph.build(handle, {fe::HeurMode_t::A});
  if (error.is_good()) error = plan.graph.get_workspace_size(plan.workspace_bytes);
  if (error.is_bad()) plan.problem = "cuDNN refuses it: " + text_of(error);
} catch (const std::exception& error) {
  plan.problem = fmt::format("cuDNN refuses it: {}", error.what());
}

// With the state locked.
Plan& plan_of(const DnnAttention& a) {
  machine()->stream();  // this thread is in the card's context
  DnnState& state = dnn_state();
  const auto [found, is_new] = state.plans.try_emplace(a);
  if (is_new) build(a, state.handle, found->second);
  return found->second;
}

#endif

}  // namespace

std::string dnn_version_problem(int64_t version, bool with_window) {
  const auto refused = [&](const char* why) { return fmt::format("cuDNN {}: {}", dnn_version_text(version), why); };
  if (version < 90500) return refused("expected 9.5.0 or newer");
  if (version == 91000 || version == 91001) return refused("its attention is wrong (9.10.2 mends it)");
  if (with_window && version == 91400) return refused("its sliding window is wrong");
  return {};
}

std::string dnn_unavailable() {
  if (!machine()) return unavailable();
  if (stand_in_use) return {};
  return machine()->stream() ? dnn_library().problem : "the grid is emulated";
}

std::string dnn_description() {
  const DnnLibrary& found = dnn_library();
  if (found.version == 0) return fmt::format("{} (set {})", found.problem, kLibraryFoldersVariable);
  return fmt::format("{} ({}){}{}", dnn_version_text(found.version), found.path,
                     found.problem.empty() ? "" : ", not used: ", found.problem);
}

void dnn_use(DnnStandIn stand_in) { stand_in_use = stand_in; }

std::string dnn_refusal([[maybe_unused]] const DnnAttention& attention) {
  if (std::string reason = dnn_unavailable(); !reason.empty() || stand_in_use) return reason;
#ifdef TROUPE_CUDNN
  if (attention.window > 0)
    if (std::string reason = dnn_version_problem(dnn_library().version, true); !reason.empty()) return reason;
  const std::lock_guard lock(dnn_state().mutex);
  return plan_of(attention).problem;
#else
  return "no library";
#endif
}

void dnn_attention(const DnnAttention& attention, const DnnData& data, [[maybe_unused]] Context& context) {
  const auto asked = [&] { machine()->asked("cuDNN's attention", data); };
  if (stand_in_use) return stand_in_use(attention, data), asked();
#ifdef TROUPE_CUDNN
  const std::lock_guard lock(dnn_state().mutex);
  Plan& plan = plan_of(attention);
  std::string problem = plan.problem;
  if (problem.empty()) {
    const Context::Lease workspace(context, plan.workspace_bytes);
    std::unordered_map<int64_t, void*> pack;
    for (int tensor = 0; tensor < (attention.backward ? int{kNumDnnTensors} : int{kDnnDctx}); ++tensor)
      pack[uid_of(tensor)] = data[static_cast<size_t>(tensor)];
    const cudnnHandle_t handle = dnn_state().handle;
    if (fe::detail::set_stream(handle, static_cast<cudaStream_t>(machine()->stream())) != CUDNN_STATUS_SUCCESS)
      problem = "the stream is refused";
    else if (const fe::error_t error = plan.graph.execute(handle, pack, workspace.data()); error.is_bad())
      problem = text_of(error);
  }
  if (!problem.empty())
    fail(ErrorCode::kEnvironment, "cuDNN: attention of {} x {} tokens, {} heads of {}: expected success, got {}",
         attention.B, attention.S, attention.H, attention.C, problem);
  asked();
#endif
}

}  // namespace troupe::cuda
