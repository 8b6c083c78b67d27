#include "study/cluster_plan.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/device.h"
#include "base/error.h"
#include "base/log.h"
#include "base/machine.h"
#include "base/quantity.h"
#include "io/toml_config.h"
#include "model/decoder_parameters.h"
#include "model/flops.h"
#include "model/language_model.h"
#include "model/model_directory.h"
#include "study/memory.h"
#include "train/rank_shares.h"

namespace troupe {
namespace {

int64_t routing_unit(const PlannedTraining& training) {
  const ModelConfig& model = training.model;
  return std::max<int64_t>(1, model.num_moe_layers() > 0 && !training.own_groups ? model.moe.group_sequences : 0);
}

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The links of one rank, which sends to all others alike; or to those of a group of consecutive ranks.
class Links {
 public:
  Links(const ClusterConfig& cluster, int64_t ranks) : Links(cluster, ranks, std::min(ranks, cluster.ranks_per_node)) {}

  // `bytes` are spread evenly over all ranks, this one too.
  ClusterLayout::Bytes share(double bytes) const {
    return {bytes * neighbours_ / ranks_, bytes * (ranks_ - 1.0 - neighbours_) / ranks_};
  }
  double seconds(const ClusterLayout::Bytes& bytes, double calls) const {
    const double others = ranks_ - 1.0 - neighbours_;
    // A link that nothing crosses may be none.
    const auto sending = [](double sent, const LinkConfig& link) {
      return sent > 0.0 ? sent / (1e9 * link.gb_per_s) : 0.0;
    };
    return sending(bytes.within, cluster_.within) + sending(bytes.between, cluster_.between) +
           1e-6 * calls * (neighbours_ * cluster_.within.microseconds + others * cluster_.between.microseconds);
  }

 private:
  Links(const ClusterConfig& cluster, int64_t ranks, int64_t of_node)
      : cluster_(cluster), ranks_(static_cast<double>(ranks)), neighbours_(static_cast<double>(of_node) - 1.0) {}

  const ClusterConfig& cluster_;
  double ranks_, neighbours_;  // neighbours: on the same node
};

// The share of what all experts take that is the fullest rank's.
double largest_expert_share(const ModelConfig& model, int64_t ranks) {
  const int64_t experts = model.moe.num_experts;
  return experts == 0 ? 0.0 : static_cast<double>(ceil_div(experts, ranks)) / static_cast<double>(experts);
}

// Of an expert: what its holders with most and least of them are; 1 where there are no copies.
int64_t most_copies(const ModelConfig& model, int64_t ranks) {
  return model.moe.num_experts == 0 ? 1 : std::max<int64_t>(1, ceil_div(ranks, model.moe.num_experts));
}
int64_t fewest_copies(const ModelConfig& model, int64_t ranks) {
  return model.moe.num_experts == 0 ? 1 : std::max<int64_t>(1, ranks / model.moe.num_experts);
}

// Rows of the rank that has most, in units of the mean, where every expert gets as many.
double rows_of_the_busiest(const ModelConfig& model, int64_t ranks) {
  return largest_expert_share(model, ranks) * static_cast<double>(ranks) /
         static_cast<double>(fewest_copies(model, ranks));
}

// Dense elements that ranks move: all of them, and those of the rank that has most.
struct DenseElements {
  int64_t all = 0, most = 0;

  DenseElements(const ModelConfig& model, int64_t ranks) {
    const ParameterTable table = make_parameter_table(model);
    const std::vector<int64_t> loads = dense_loads(table, {}, static_cast<int>(ranks));
    all = std::accumulate(loads.begin(), loads.end(), int64_t{0});
    most = *std::max_element(loads.begin(), loads.end());
  }
};

// Of what one process takes for a rank's sequences, what the rank that holds most takes.
ClusterLayout::Memory memory_of_rank(const MemoryEstimate& whole, const ModelConfig& model, const DenseElements& dense,
                                     int64_t ranks, bool recompute) {
  const double share = largest_expert_share(model, ranks);
  const auto experts_of = [&](const MemoryPart& part) {
    return static_cast<int64_t>(share * static_cast<double>(part.experts));
  };
  const auto held = [&](const MemoryPart& part) { return part.total - part.experts + experts_of(part); };
  ClusterLayout::Memory memory;
  memory.weights = held(whole.weights);
  memory.gradients = held(whole.gradients);
  memory.packed = held(whole.packed);
  // Of copies each holder has a part of the moments.
  const std::vector<int64_t> copies =
      copy_loads(make_parameter_table(model), {}, static_cast<int>(fewest_copies(model, ranks)));
  const auto moved = static_cast<double>(*std::max_element(copies.begin(), copies.end()));
  const double own = moved / static_cast<double>(std::max<int64_t>(1, std::accumulate(copies.begin(), copies.end(), int64_t{0})));
  memory.optimizer =
      static_cast<int64_t>(own * static_cast<double>(experts_of(whole.optimizer))) +
      static_cast<int64_t>(static_cast<double>(whole.optimizer.total - whole.optimizer.experts) *
                           static_cast<double>(dense.most) / static_cast<double>(std::max<int64_t>(1, dense.all)));
  memory.activations = recompute ? whole.activations_recompute : whole.activations;
  return memory;
}

}  // namespace

namespace {

// Of one rank.
int64_t memory_of_run(const RunConfig& config, int64_t ranks) {
  const MemoryEstimate all = estimate_memory(config);  // of one process
  RunConfig own = config;
  own.train.micro_sequences = ceil_div(micro_batch(config.train), ranks);
  own.train.batch_sequences = own.train.micro_sequences;
  int64_t need = memory_of_rank(estimate_memory(own), config.model, DenseElements(config.model, ranks), ranks,
                                config.train.recompute)
                     .total();
  if (!config.finetune) return need;
  need += all.weights.total + all.packed.total;  // the whole model, while it is evaluated
  if (!config.finetune->teacher.empty())
    need += estimate_memory(read_model_config(find_model(config.finetune->teacher)), 1, 1,
                            precision_of(config.train.precision))
                .inference.total;
  return need;
}

}  // namespace

void require_memory_of_ranks(const std::vector<NamedRun>& runs, Communicator& ranks) {
  if (active_device() != Device::kCpu || runs.empty()) return;  // a GPU's says itself what it lacks
  std::vector<int64_t> needs;
  for (const NamedRun& run : runs) needs.push_back(memory_of_run(run.config, ranks.size()));
  const auto most = std::max_element(needs.begin(), needs.end());
  const int64_t need = *most;
  const std::string& where = runs[static_cast<size_t>(most - needs.begin())].where;
  constexpr const char* kPlace = "memory";
  const std::vector<std::string> hosts = ranks.texts(host_name(), kPlace);
  const auto here = std::count(hosts.begin(), hosts.end(), hosts[static_cast<size_t>(ranks.rank())]);
  const std::optional<int64_t> have = read_machine().free_bytes();  // before anybody takes some
  const auto shown = [](int64_t bytes) { return short_bytes(static_cast<double>(bytes)); };
  log::info("memory: about {} of a rank, {} of {} on this machine, {} free{}", shown(need), shown(need * here),
            counted(static_cast<int64_t>(here), "rank"), have ? shown(*have) : "unknown",
            runs.size() > 1 ? ", for the largest: " + where : "");
  const auto check = [&] {
    if (have && need * here > *have)
      fail(ErrorCode::kEnvironment,
           "{}: expected at least {} of memory on {} for its {} ({} each), got {} that are free (train.micro_sequences and "
           "train.recompute need less, more machines too; --ignore-memory starts anyway)",
           where, shown(need * here), host_name(), counted(static_cast<int64_t>(here), "rank"), shown(need), shown(*have));
  };
  ranks.together(check, kPlace);
}

void require_memory_of_ranks(const RunConfig& config, const std::string& where, Communicator& ranks) {
  require_memory_of_ranks({{where, config}}, ranks);
}

ClusterConfig load_cluster(const std::filesystem::path& path) {
  ClusterConfig cluster;
  FieldList fields = fields_of(cluster);
  read_config(path, {}, fields);
  const auto require = [&](const char* key, double value) {
    if (value <= 0.0) fail(ErrorCode::kUsage, "{}: {}: expected a number above 0, got none", path.string(), key);
  };
  require("gb_per_rank", cluster.gb_per_rank), require("tflops", cluster.tflops);
  if (cluster.ranks_per_node > 1) require("within.gb_per_s", cluster.within.gb_per_s);
  if (cluster.nodes > 1) require("between.gb_per_s", cluster.between.gb_per_s);
  return cluster;
}

ClusterLayout plan_layout(const PlannedTraining& training, const ClusterConfig& cluster, int64_t nodes,
                          int64_t micro_sequences, bool recompute) {
  const ModelConfig& model = training.model;
  const int64_t ranks = nodes * cluster.ranks_per_node, unit = routing_unit(training);
  if (ceil_div(micro_sequences, unit) < ranks)
    fail(ErrorCode::kUsage, "cost --plan: expected at least one routing group of {} for each of {} ranks, got {} sequences",
         counted(unit, "sequence"), ranks, micro_sequences);
  ClusterLayout layout{.nodes = nodes, .ranks = ranks, .micro_sequences = micro_sequences, .recompute = recompute};
  layout.micro_batches = ceil_div(training.batch_sequences, micro_sequences);
  layout.sequences_per_rank = std::min(micro_sequences, ceil_div(ceil_div(micro_sequences, unit), ranks) * unit);
  layout.experts_per_rank = ceil_div(model.moe.num_experts, ranks);
  layout.copies_per_expert = most_copies(model, ranks);
  const DenseElements dense(model, ranks);
  layout.memory = memory_of_rank(
      estimate_memory(model, layout.sequences_per_rank, training.seq_len, training.precision, training.optimizer), model,
      dense, ranks, recompute);

  const Links links(cluster, ranks);
  const bool several = ranks > 1;
  const auto micro_batches = static_cast<double>(layout.micro_batches);
  const auto moe_layers = static_cast<double>(model.num_moe_layers());
  const double tokens = static_cast<double>(layout.sequences_per_rank * training.seq_len);
  const double operand = training.precision == Precision::kBf16 ? 2.0 : 4.0, real = 4.0;

  const FlopsRule rule{.recompute = recompute};
  const double flops = train_flops_per_token(model, training.seq_len, rule);
  const double passes = recompute ? 4.0 : 3.0;
  const double expert_flops = passes * forward_flops_per_token(model, training.seq_len, rule).experts;
  const double busiest = several ? cluster.imbalance * rows_of_the_busiest(model, ranks) : 1.0;
  layout.seconds.compute =
      micro_batches * tokens * (flops + (busiest - 1.0) * expert_flops) / (1e12 * cluster.tflops);

  if (several && model.num_moe_layers() > 0) {
    const double rows = tokens * static_cast<double>(model.moe.top_k), width = static_cast<double>(model.d_model);
    const double forwards = recompute ? 2.0 : 1.0;
    const double row_bytes = rows * width * (forwards + 1.0) * (operand + real);
    const double count_bytes = forwards * 8.0 * static_cast<double>(std::max(model.moe.num_experts, ranks));
    layout.rows = links.share(micro_batches * moe_layers * (row_bytes + count_bytes));
    layout.seconds.rows = links.seconds(layout.rows, micro_batches * moe_layers * (3.0 * forwards + 2.0));
    const double kept = busiest * rows * width * (operand + 2.0 * real + operand);  // and the staging of received rows
    layout.memory.exchange = static_cast<int64_t>(1.25 * kept);
    if (model.moe.group_sequences == 0 && !training.own_groups) {
      // Every rank sends its own logits to all others.
      const double own = tokens * static_cast<double>(model.moe.num_experts) * real;
      layout.logits = links.share(micro_batches * moe_layers * forwards * own * static_cast<double>(ranks));
      layout.seconds.logits = links.seconds(layout.logits, micro_batches * moe_layers * forwards);
      layout.memory.exchange += static_cast<int64_t>((moe_layers + 2.0) * own * static_cast<double>(ranks));
    }
  }
  if (several) {
    const auto bucket = static_cast<double>(bucket_elements({}, static_cast<int>(ranks)));
    const double rounds = std::ceil(static_cast<double>(dense.all) / bucket);
    // Gradients of all to each mover; what a rank moved to all.
    layout.dense = links.share(2.0 * real * static_cast<double>(dense.all));
    layout.seconds.dense = links.seconds(layout.dense, 2.0 * rounds);
  }
  if (layout.copies_per_expert > 1) {
    const std::vector<int64_t> loads = copy_loads(make_parameter_table(model), {}, 1);
    const auto elements = static_cast<double>(loads[0]);
    const Links holders(cluster, layout.copies_per_expert);
    const auto bucket = static_cast<double>(bucket_elements({}, static_cast<int>(layout.copies_per_expert)));
    layout.copies = holders.share(2.0 * real * elements);
    layout.seconds.copies = holders.seconds(layout.copies, 2.0 * std::ceil(elements / bucket));
  }
  layout.fits = static_cast<double>(layout.memory.total()) <= 1e9 * cluster.gb_per_rank;
  layout.tokens_per_s =
      static_cast<double>(training.batch_sequences * training.seq_len) / layout.seconds.step();
  return layout;
}

std::vector<ClusterLayout> plan_layouts(const PlannedTraining& training, const ClusterConfig& cluster) {
  const int64_t unit = routing_unit(training);
  std::vector<ClusterLayout> found;
  for (int64_t nodes = cluster.nodes; nodes > 0; nodes /= 2) {
    const int64_t ranks = nodes * cluster.ranks_per_node, batch = training.batch_sequences;
    std::vector<int64_t> sizes;
    if (training.micro_sequences)
      sizes.push_back(*training.micro_sequences);
    else
      for (int64_t parts = 1; parts <= batch; ++parts)
        if (batch % parts == 0) sizes.push_back(batch / parts);
    std::optional<ClusterLayout> best;
    for (const int64_t size : sizes)
      for (const bool recompute : {false, true}) {
        if (ceil_div(size, unit) < ranks || (training.recompute && *training.recompute != recompute)) continue;
        const ClusterLayout layout = plan_layout(training, cluster, nodes, size, recompute);
        const bool better = !best || (layout.fits && !best->fits) ||
                            (layout.fits == best->fits && (layout.fits ? layout.tokens_per_s > best->tokens_per_s
                                                                       : layout.memory.total() < best->memory.total()));
        if (better) best = layout;
      }
    if (best) found.push_back(*best);
  }
  if (found.empty())
    fail(ErrorCode::kUsage,
         "cost --plan: expected a batch with a routing group of {} for every rank, got {} for {} ranks of a node (fewer "
         "ranks_per_node, or a larger batch)",
         counted(unit, "sequence"), counted(training.micro_sequences.value_or(training.batch_sequences), "sequence"),
         cluster.ranks_per_node);
  return found;
}

}  // namespace troupe
