#include "study/memory.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/checked.h"
#include "base/device.h"
#include "base/error.h"
#include "base/quantity.h"
#include "kernels/cuda/cublaslt.h"
#include "kernels/cuda/embedding.h"
#include "kernels/cuda/machine.h"
#include "model/decoder_parameters.h"
#include "model/language_model.h"
#include "model/model_directory.h"
#include "model/workspace.h"
#include "nn/lora.h"
#include "ops/cuda/cudnn.h"
#include "ops/loss.h"
#include "train/freeze.h"

namespace troupe {

namespace {

int64_t muon_workspace(const ParameterFamily& family, Precision precision) {
  const int64_t stacked = family.pattern.stacked;
  const int64_t rows = family.pattern.shape[0] / stacked, cols = family.pattern.shape[1];
  const int64_t most = std::max<int64_t>(1, muon_batch(rows, cols) / stacked);
  const int64_t count = std::min(family.count(), most) * stacked;
  return precision == Precision::kBf16 ? MuonWorkspace<Bf16>::bytes(count, rows, cols)
                                       : MuonWorkspace<F32>::bytes(count, rows, cols);
}

// Room of the context (kernels/context.h), by depth of leases: first logits, in whose room attention and products of
// libraries work as far as it goes, then what the gradient of embeddings takes beside its first, then what products
// take within the loss, and in float32 beside sums.
void add_gpu_workspaces(MemoryEstimate& memory, const ModelConfig& config, int64_t B, int64_t S, Precision precision) {
  const bool bf16 = precision == Precision::kBf16;
  const int64_t T = B * S, columns = bf16 ? 64 : 8, V = (config.vocab_size + columns - 1) / columns * columns;
  const int64_t logits = tokens_of_logits(T, V) * V * static_cast<int64_t>(sizeof(float));
  const int64_t ranks_of_ids =
      cuda::CountBeforeKernel{nullptr, T, nullptr}.chunks() * T * static_cast<int64_t>(sizeof(int32_t));
  memory.workspaces = logits + ranks_of_ids;
  const int64_t H = config.num_heads, of_a_sequence = checked_product({H, S, S, 2}, "workspace of attention");
  const bool by_library = bf16 && config.attention_dropout == 0.0;
  const int64_t attention = by_library ? dnn_backward_sequences(B, S, H) * of_a_sequence : 0;
  const int64_t sums = bf16 ? 0 : T * std::max(config.d_ff, config.expert_d_ff()) * static_cast<int64_t>(sizeof(float));
  memory.libraries = (bf16 ? 1 : 2) * cuda::kLtWorkspaceBytes +
                     std::max<int64_t>(0, std::max({attention, sums, cuda::kLtWorkspaceBytes}) - logits);
}

// Of layers whose gradients lie in one place.
void add_largest(MemoryPart& gradients, const std::map<int64_t, MemoryPart>& of_layers) {
  MemoryPart largest;
  for (const auto& [layer, of_layer] : of_layers)
    if (of_layer.total > largest.total) largest = of_layer;
  gradients.total += largest.total, gradients.experts += largest.experts;
}

// As Trainer holds them (nn/lora.h). T: tokens of a micro-batch.
void add_adapters(MemoryEstimate& memory, const ParameterTable& table, const OptimizerConfig& optimizer,
                  const LoraConfig& lora, Precision precision, int64_t T) {
  const LoraParameters adapters = make_lora_parameters(table, lora_targets(lora.targets), lora.rank);
  const std::vector<Slot> kept = lora_kept(adapters, table, lora.dropout);
  const bool bf16 = precision == Precision::kBf16;
  int64_t room = 0;  // of the products beside the matrices (nn/dropped_adapters.h)
  const auto add = [](MemoryPart& part, const ParameterFamily& family, int64_t bytes_per_value) {
    part.total += bytes_per_value * family.size();
    if (family.pattern.role == Role::kExpert) part.experts += bytes_per_value * family.size();
  };
  for (const Slot slot : kept) {
    int64_t rows = 0, cols = 0;
    for (const ParameterFamily& family : table.families()) {
      if (family.pattern.slot.begin < slot.begin || family.pattern.slot.end > slot.end) continue;
      add(memory.weights, family, 4);
      rows += family.pattern.shape.front(), cols = family.pattern.shape.back();
      // Beside the sums, which evaluation alone multiplies, and forward.
      if (bf16 && lora.dropout > 0.0) add(memory.packed, family, 2);
    }
    const int64_t operand = bf16 ? 2 : 4;
    room = std::max(room, T * (4 * std::max(rows, cols) + operand * (cols + 2 * lora.rank)));
  }
  if (lora.dropout > 0.0) memory.activations += room, memory.activations_recompute += room;
  for (const ParameterFamily& family : adapters.table.families()) {
    add(memory.weights, family, (is_lora_a(family.pattern) ? 3 : 2) * 4);  // and as they are multiplied
    add(memory.gradients, family, 4), add(memory.optimizer, family, optimizer.moments == Precision::kBf16 ? 4 : 8);
  }
}

}  // namespace

MemoryEstimate estimate_memory(const ModelConfig& config, int64_t micro_batch, int64_t seq_len, Precision precision,
                               const OptimizerConfig& optimizer, Freeze freeze, const LoraConfig& lora) {
  MemoryEstimate memory;
  const Selection trained = lora.is_used()
                                ? [](const Parameter&) { return false; }
                                : trained_of(freeze == Freeze::kAllButChosenExperts ? Freeze::kAllButExperts : freeze);
  const bool bf16 = precision == Precision::kBf16;
  const ParameterTable table = make_parameter_table(config);
  const int64_t of_two = optimizer.moments == Precision::kBf16 ? 4 : 8;  // bytes of two moments
  int64_t workspace = 0, at_once = 0;
  std::map<int64_t, MemoryPart> of_layers;  // gradients that lie in one place
  for (const ParameterFamily& family : table.families()) {
    const Parameter& parameter = family.pattern;
    const auto add = [&](MemoryPart& part, int64_t bytes_per_value) {
      part.total += bytes_per_value * family.size();
      if (parameter.role == Role::kExpert) part.experts += bytes_per_value * family.size();
    };
    add(memory.weights, 4);
    const bool is_trained = !trained || trained(parameter);
    const bool muon = moved_by_muon(parameter, optimizer);
    const bool shares = optimizer.release_gradients && parameter.layer >= 0;
    if (is_trained) add(shares ? of_layers[parameter.layer] : memory.gradients, 4);
    if (is_trained) add(memory.optimizer, muon ? 4 : of_two);
    if (is_trained)
      at_once = of_two == 8 ? at_once + of_two * family.size() : std::max(at_once, of_two * family.size());
    if (is_trained && muon) workspace = std::max(workspace, muon_workspace(family, precision));
    // A tied output is multiplied, and looked up in float32.
    const bool output = config.tied_output && parameter.name == "embed_tokens.weight";
    const int copies = active_device() == Device::kCuda ? 1 : 2;
    if (bf16 && (parameter.product || output)) add(memory.packed, copies * 2);
    add(memory.inference, bf16 && parameter.product ? 2 : bf16 && output ? 4 + 2 : 4);
  }
  add_largest(memory.gradients, of_layers);
  const int64_t T = micro_batch * seq_len;
  if (lora.is_used()) add_adapters(memory, table, optimizer, lora, precision, T);
  // A GPU's room for moments on their way, which in float32 are one stream and else that of a family.
  if (optimizer.offload && active_device() == Device::kCuda) {
    memory.offloaded = std::exchange(memory.optimizer, {});
    memory.optimizer.total = std::min(of_two * kMomentsAtATime, at_once);
  }
  memory.optimizer.total += workspace;
  const auto activations = [&](Keep keep) {
    return bf16 ? Workspace<Bf16>::bytes(config, T, keep) : Workspace<F32>::bytes(config, T, keep);
  };
  memory.activations += activations(Keep::kAll);
  memory.activations_recompute += activations(Keep::kLayerInputs);
  if (active_device() == Device::kCuda) add_gpu_workspaces(memory, config, micro_batch, seq_len, precision);
  return memory;
}

MemoryEstimate estimate_memory(const RunConfig& config) {
  return estimate_memory(config.model, micro_batch(config.train), config.model.context,
                         precision_of(config.train.precision), config.train.optimizer,
                         config.finetune ? config.finetune->freeze : Freeze::kNothing,
                         config.finetune ? config.finetune->lora : LoraConfig());
}

std::optional<int64_t> free_memory_bytes(const Machine& machine) {
  return active_device() == Device::kCuda ? cuda::machine()->free_bytes() : machine.free_bytes();
}

void require_memory(const RunConfig& config, const Machine& machine, const std::string& where) {
  if (active_device() != Device::kCpu) return;  // a GPU's says itself what it lacks
  const MemoryEstimate memory = estimate_memory(config);
  int64_t need = memory.total(config.train.recompute);
  if (config.finetune && !config.finetune->teacher.empty()) {
    const ModelConfig teacher = read_model_config(find_model(config.finetune->teacher));
    need += estimate_memory(teacher, 1, 1, precision_of(config.train.precision)).inference.total;
  }
  const std::optional<int64_t> have = machine.free_bytes();
  if (!have || need <= *have) return;
  const auto shown = [](int64_t bytes) { return short_bytes(static_cast<double>(bytes)); };
  const int64_t activations = config.train.recompute ? memory.activations_recompute : memory.activations;
  fail(ErrorCode::kEnvironment,
       "{}: expected at least {} of memory for training ({} of it activations), got {} that are free "
       "here (train.micro_sequences and train.recompute need less; --ignore-memory starts anyway)",
       where, shown(need), shown(activations), shown(*have));
}

}  // namespace troupe
