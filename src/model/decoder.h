// The decoder-only language model, dense or with Mixture-of-Experts layers, as the facts of ModelConfig say. Forward and
// backward are explicit; there is no tape.
//
//   x = embedding;  per layer: x += attention(norm(x)), x += ffn(norm(x)) or moe(norm(x));  logits = norm(x) W^T
//
// One Decoder works on one micro-batch at a time and owns the activations; parameters and gradients belong to the
// caller.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "model/batch.h"
#include "nn/parameters.h"
#include "nn/run_mode.h"
#include "ops/later.h"
#include "ops/route/router_stats.h"
#include "tensor/arena.h"
#include "tensor/matrix.h"
#include "tensor/precision.h"
#include "troupe/config.h"

namespace troupe {

class Communicator;
template <class P>
struct DecoderWeights;
template <class P>
class Workspace;

struct DecoderOptions {
  bool recompute = false;  // keep only layer inputs and run each layer's forward again in the backward pass
  // Share the experts and the sequences of every micro-batch: `params` has the dense parameters and this rank's experts.
  // Every rank makes the same calls with the same whole batches, and gets their whole losses and statistics.
  Communicator* ranks = nullptr;
  bool inference = false;  // no backward pass: a LanguageModel keeps packed weights alone, where products read those
};

// How much of the loss is the teacher's, and how soft its choices are (ops/loss.h: OutputTeacher).
struct Distillation {
  double alpha = 0.5, temperature = 1.0;
};

// What a micro-batch was found to cost, and what its MoE layers reported, in layer order.
struct PassSums {
  LossSum loss;
  std::vector<RouterStats> routers;
};

// What is done when a layer's gradients are complete; the loss is summed up if it is asked for.
using LayerDone = std::function<void(int64_t layer, const std::function<LossSum()>& loss)>;

template <class P>
struct DecoderState;  // decoder_state.h

template <class P>
class Decoder {
 public:
  using real = typename P::real;

  // `params` has the layout of make_parameter_table(config) and must outlive the decoder.
  Decoder(const ModelConfig& config, const ParameterStore<real>& params, DecoderOptions options = {});
  ~Decoder();

  const ModelConfig& config() const;

  // Losses of a micro-batch; adds the gradient of LossSum::total (a sum over tokens, not yet divided) to `grads`.
  // Parameters that `grads` does not hold are frozen: their gradient is not computed. `layer_done` is called on the way
  // back, from the last layer to the first, when nothing more is added to the gradients of a layer: it may take them,
  // put zeros in their place and move the layer's parameters.
  LossSum forward_backward(const Batch& batch, const RunMode& mode, ParameterStore<real>& grads,
                           const LayerDone& layer_done = {});

  // The same, after which sums may still be on their way from a device. They may be waited for after other passes.
  Later<PassSums> forward_backward_later(const Batch& batch, const RunMode& mode, ParameterStore<real>& grads,
                                         const LayerDone& layer_done = {});

  // From now on forward_backward() learns from what `teacher` makes of the same batches too, which must outlive this
  // decoder, know the same tokens and lie in the same memory. Where ranks share this decoder each has the whole teacher.
  void learn_from(Decoder& teacher, const Distillation& distillation);

  // Losses only. nll_T [B * S] (may be empty) gets each target's negative log-likelihood, 0 where nothing is scored;
  // argmax_T (may be empty) the most probable next token.
  LossSum score(const Batch& batch, const RunMode& mode, std::span<real> nll_T = {}, std::span<int32_t> argmax_T = {});

  // What the output layer reads of a pass in evaluation, [B * S, D], until the next pass.
  Matrix<const typename P::operand> hidden(const Batch& batch);

  // Routing statistics of every MoE layer in the last pass, in layer order; empty for a dense model.
  std::span<const RouterStats> router_stats() const;

  // Activation memory of the last plan: entries for printing, total in bytes.
  const Arena& arena() const;

  // The model as blocks, for other passes through it (infer/), and what the last pass left, for tests.
  const DecoderWeights<P>& weights() const;
  DecoderWeights<P>& weights();
  Workspace<P>& workspace();

 private:
  std::unique_ptr<DecoderState<P>> state_;
};

extern template class Decoder<F64>;
extern template class Decoder<F32>;
extern template class Decoder<Bf16>;

}  // namespace troupe
