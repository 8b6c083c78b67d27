// Causal attention by cuDNN, for whole sequences in bf16. Its graphs are made through NVIDIA's cudnn-frontend, so this
// is compiled where tools/gpu/headers.sh has put the headers of both; the library itself is loaded at run time.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>

#include "kernels/context.h"

namespace troupe::cuda {

enum DnnTensor { kDnnQ, kDnnK, kDnnV, kDnnCtx, kDnnLse, kDnnDctx, kDnnDq, kDnnDk, kDnnDv, kNumDnnTensors };

// What a graph is made for (see ops/attention.h).
struct DnnAttention {
  bool backward = false;  // else the forward pass, with the first five tensors
  bool deterministic = true;
  int64_t B = 0, S = 0, H = 0, G = 0, C = 0, window = 0;
  float scale = 1.0f;
  // Elements from token to token; a head is C from the next one. Log-sums are float [B, H, S].
  std::array<int64_t, kNumDnnTensors> strides{};

  int64_t heads(int tensor) const {
    const bool of_keys = tensor == kDnnK || tensor == kDnnV || tensor == kDnnDk || tensor == kDnnDv;
    return of_keys ? G : H;
  }
  friend auto operator<=>(const DnnAttention&, const DnnAttention&) = default;
};
using DnnData = std::array<void*, kNumDnnTensors>;

// Why the library computes no attention in this process, or "".
std::string dnn_unavailable();
// Why it does not compute this one, or "": it is asked once, and keeps its graph.
std::string dnn_refusal(const DnnAttention& attention);
// In the order of the machine's other work. The same bits for the same shapes, library and card if it is
// deterministic.
void dnn_attention(const DnnAttention& attention, const DnnData& data, Context& context);

// What is wrong with a version (91900: 9.19.0), or "".
std::string dnn_version_problem(int64_t version, bool with_window);

// What doctor says: version and path, or what was looked for.
std::string dnn_description();

// Takes the place of the library, in tests; nullptr: the library again.
using DnnStandIn = void (*)(const DnnAttention& attention, const DnnData& data);
void dnn_use(DnnStandIn stand_in);

}  // namespace troupe::cuda
