// Training on a cluster before anybody has one: memory of a rank, bytes on the links and time of a step, by what the program
// sends (docs/distributed.md) and an alpha-beta model of links.
//
//   a message of n bytes takes latency + n / bandwidth; a rank sends its messages one after the other, those to ranks of its
//   own node over the link within, the others over the link between nodes; nothing overlaps with computing.
//   step = M (compute + rows + logits) + dense + copies, for M micro-batches:
//     compute  training FLOPs of the rank's tokens / tflops; of experts those of the busiest rank: of uneven shares the
//              largest, by rows alike of every expert, and more by `imbalance`
//     rows     of every MoE layer: counts, rows to experts and back, gradients to experts and back (with recomputation
//              counts and rows once more)
//     logits   of routers, where a routing group is the whole micro-batch: every rank gets those of all tokens
//     dense    gradients to the rank that moves them, moved parameters to all
//     copies   the same of an expert among the ranks that hold it, where there are more ranks than experts
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "dist/communicator.h"
#include "tensor/precision.h"
#include "train/run_config.h"

namespace troupe {

struct LinkConfig {
  double gb_per_s = 0.0, microseconds = 0.0;

  template <class V>
  void fields(V& v) {
    v("gb_per_s", gb_per_s, range(1e-6, 1e6), "that one rank gets while all ranks send, 1e9 bytes a second");
    v("microseconds", microseconds, range(0, 1e9), "until the first byte of a message arrives");
  }
};

// A file of nodes that are alike.
struct ClusterConfig {
  int64_t nodes = 1, ranks_per_node = 1;
  double gb_per_rank = 0.0, tflops = 0.0, imbalance = 1.0;
  LinkConfig within, between;

  template <class V>
  void fields(V& v) {
    v("nodes", nodes, range(1, 1 << 20), "machines, all alike");
    v("ranks_per_node", ranks_per_node, range(1, 4096), "processes of one machine");
    v("gb_per_rank", gb_per_rank, range(1e-3, 1e6), "memory of one rank, 1e9 bytes");
    v("tflops", tflops, range(1e-6, 1e6), "FLOPs that training does on one rank, 1e12 a second, as `bench step` measures them");
    v("imbalance", imbalance, range(1, 1e6), "rows that the busiest rank's experts get, in units of the mean");
    v("within", within);
    v("between", between);
  }
};

// A run, and what messages call it.
struct NamedRun {
  std::string where;
  RunConfig config;
};

// Says what the ranks of a machine need together for a run, exchanges not counted, and what is free. Throws kEnvironment
// on all ranks where a machine has not so much. Not for GPUs. Of several runs for the one that needs most.
void require_memory_of_ranks(const RunConfig& config, const std::string& where, Communicator& ranks);
void require_memory_of_ranks(const std::vector<NamedRun>& runs, Communicator& ranks);

// Throws kUsage naming file and key.
ClusterConfig load_cluster(const std::filesystem::path& path);

// What is trained, and what may be chosen: how many nodes take part, sequences in memory, recomputation.
struct PlannedTraining {
  ModelConfig model;
  Precision precision = Precision::kBf16;
  OptimizerConfig optimizer;
  int64_t seq_len = 0, batch_sequences = 0;
  std::optional<int64_t> micro_sequences;  // of all ranks; none: free
  std::optional<bool> recompute;
  bool own_groups = false;  // every rank's sequences are its routing groups, whatever model.moe.group_sequences says
};

struct ClusterLayout {
  int64_t nodes = 0, ranks = 0;
  int64_t micro_sequences = 0;  // of all ranks
  int64_t micro_batches = 0, sequences_per_rank = 0, experts_per_rank = 0;  // of the rank that has most
  int64_t copies_per_expert = 1;  // of the expert that has most
  bool recompute = false;

  // Bytes of the rank that holds most.
  struct Memory {
    int64_t weights = 0, gradients = 0, optimizer = 0, packed = 0, activations = 0, exchange = 0;
    int64_t total() const { return weights + gradients + optimizer + packed + activations + exchange; }
  } memory;
  // Bytes that one rank sends in a step, by link.
  struct Bytes {
    double within = 0.0, between = 0.0;
  };
  Bytes rows, logits, dense, copies;
  double sent() const {
    double sum = 0.0;
    for (const Bytes& bytes : {rows, logits, dense, copies}) sum += bytes.within + bytes.between;
    return sum;
  }
  struct {
    double compute = 0.0, rows = 0.0, logits = 0.0, dense = 0.0, copies = 0.0;
    double step() const { return compute + rows + logits + dense + copies; }
  } seconds;
  bool fits = false;
  double tokens_per_s = 0.0;

  double efficiency() const { return seconds.compute / seconds.step(); }
};

// One layout. Throws kUsage if some rank would have no routing group of a micro-batch.
ClusterLayout plan_layout(const PlannedTraining& training, const ClusterConfig& cluster, int64_t nodes,
                          int64_t micro_sequences, bool recompute);

// For every number of nodes (all, half of them, a quarter ...) the fastest layout that fits into memory, or, if none does,
// the smallest. Numbers of nodes with more ranks than a batch has routing groups are left out; throws kUsage if none is
// left. The best is that with most tokens a second.
std::vector<ClusterLayout> plan_layouts(const PlannedTraining& training, const ClusterConfig& cluster);

}  // namespace troupe
