// troupe cost: parameters, training FLOPs and memory of a preset or of a configuration, and the paper's Table 1.
#include "study/cost.h"

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/device.h"
#include "base/error.h"
#include "base/quantity.h"
#include "cli/choice.h"
#include "cli/command.h"
#include "cli/device.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/run_file.h"
#include "cli/validators.h"
#include "model/language_model.h"
#include "model/decoder_parameters.h"
#include "study/cluster_plan.h"
#include "study/memory.h"
#include "train/freeze.h"

namespace troupe::cli {
namespace {

using Json = nlohmann::ordered_json;

struct CostFlags {
  std::string preset, config, rule, precision, plan;
  Freeze freeze = Freeze::kNothing;
  LoraConfig lora;
  std::vector<std::string> overrides;
  double tokens = 0;
  int64_t seq_len = 0, vocab = 0, micro_batch = 0;
  bool table = false, json = false, list = false;
};

void print_paper_table(const CostFlags& flags) {
  bool all_equal = true;
  std::vector<std::vector<std::string>> rows = {
      {"preset", "layers", "width", "experts", "params", "computed", "ZFLOPs", "computed", "verdict"}};
  for (const PaperRow& row : paper_table()) {
    const Preset& preset = *row.preset;
    all_equal &= row.equal();
    std::string verdict = row.equal() ? "equal" : "DIFFERS";
    if (row.equal() && preset.nominal_params && row.params != preset.published_params) verdict += " (nominal size)";
    if (flags.json) {
      print_json({{"schema", "troupe.cost.table/1"},
                  {"preset", preset.name},
                  {"params_published", preset.published_params},
                  {"params_computed", row.params},
                  {"params_nominal", preset.nominal_params},
                  {"zflops_published", preset.published_zflops},
                  {"zflops_computed", row.zflops},
                  {"equal", row.equal()}});
      continue;
    }
    rows.push_back({std::string(preset.name), std::to_string(preset.num_layers), std::to_string(preset.d_model),
                    preset.num_experts ? std::to_string(preset.num_experts) : "-", std::string(preset.published_params),
                    row.params, std::string(preset.published_zflops), row.zflops, verdict});
  }
  if (!flags.json) {
    print_table(rows);
    print(
        "\nTraining on 300e9 tokens of context 2,048; V = 50,000, activations recomputed, router left out.\n"
        "A nominal size is the name of a size class, not a count; only its ZFLOPs are compared.\n");
  }
  if (!all_equal) fail(ErrorCode::kNo, "cost --table: expected every row as published, got a difference");
}

std::string flops_text(double flops) {
  constexpr const char* kUnits[] = {"FLOPs", "kFLOPs", "MFLOPs", "GFLOPs", "TFLOPs", "PFLOPs", "EFLOPs", "ZFLOPs"};
  size_t unit = 0;
  double scale = 1.0;
  for (; unit + 1 < std::size(kUnits) && flops >= 100.0 * scale; ++unit) scale *= 1e3;
  return fmt::format("{:.4f} {}", flops / scale, kUnits[unit]);
}

Json part_to_json(const MemoryPart& part) { return {{"total", part.total}, {"experts", part.experts}}; }

Json to_json(const MemoryEstimate& memory) {
  return {{"weights", part_to_json(memory.weights)},
          {"gradients", part_to_json(memory.gradients)},
          {"optimizer", part_to_json(memory.optimizer)},
          {"packed", part_to_json(memory.packed)},
          {"offloaded", part_to_json(memory.offloaded)},
          {"inference", part_to_json(memory.inference)},
          {"activations", memory.activations},
          {"activations_recompute", memory.activations_recompute},
          {"workspaces", memory.workspaces},
          {"library_workspaces", memory.libraries},
          {"total", memory.total(false)},
          {"total_recompute", memory.total(true)}};
}

std::string tokens_text(double tokens) {
  return short_number(tokens);
}

struct Question {
  std::string name;
  ModelConfig model;
  double tokens;
  int64_t seq_len;
  int64_t micro_batch = 1, batch_sequences = 0;
  bool recompute = false;
  Precision precision = Precision::kBf16;
  OptimizerConfig optimizer;
  Freeze freeze = Freeze::kNothing;
  LoraConfig lora;
  FlopsRule rule;
  std::string rule_name;
};

// on_device: memory is that of the device which a run would take.
Question read_question(const CostFlags& flags, bool on_device) {
  if (flags.preset.empty() == flags.config.empty())
    fail(ErrorCode::kUsage, "cost: expected one of --preset, --config and --table, got {}",
         flags.preset.empty() ? "none" : "several");
  if (!flags.overrides.empty() && flags.config.empty())
    fail(ErrorCode::kUsage, "cost: --set: expected --config beside it, got --preset");
  Question question;
  if (!flags.preset.empty()) {
    question.name = flags.preset;
    question.model = make_config(find_preset(flags.preset));
    if (on_device) assume_device(question.model);
    question.tokens = flags.tokens > 0 ? flags.tokens : kPaperTokens;
    question.rule_name = "paper";
    question.batch_sequences = static_cast<int64_t>(find_preset(flags.preset).batch_tokens) / question.model.context;
  } else {
    question.name = flags.config;
    const RunFile run = load_run_file(flags.config, flags.overrides);
    question.model = run.model;
    if (on_device) assume_device(question.model);
    question.micro_batch = micro_batch(run.train);
    question.batch_sequences = run.train.batch_sequences;
    question.recompute = run.train.recompute;
    question.precision = precision_of(run.train.precision);
    question.optimizer = run.train.optimizer;
    question.tokens = flags.tokens > 0 ? flags.tokens
                                       : static_cast<double>(num_steps(run)) *
                                             static_cast<double>(run.train.batch_sequences * run.model.context);
    if (question.tokens <= 0)
      fail(ErrorCode::kUsage, "cost: --tokens: expected with {}, which has neither train.steps nor train.tokens",
           flags.config);
    question.rule_name = "troupe";
  }
  if (flags.micro_batch > 0) question.micro_batch = flags.micro_batch;
  if (!flags.precision.empty()) question.precision = enum_of_name<Precision>(flags.precision).value();
  if (!flags.rule.empty()) question.rule_name = flags.rule;
  question.seq_len = flags.seq_len > 0 ? flags.seq_len : question.model.context;
  question.rule = question.rule_name == "paper" ? paper_rule() : FlopsRule{};
  if (flags.vocab > 0) question.rule.vocab_size = flags.vocab;
  question.freeze = flags.freeze;
  question.lora = flags.lora;
  const ParameterTable table = make_parameter_table(question.model);
  check_freeze(flags.freeze, table, "cost");
  if (flags.lora.is_used()) check_lora(flags.lora, table, "cost");
  return question;
}

int64_t output_columns(const Question& question) {
  return question.rule.vocab_size > 0 ? question.rule.vocab_size : question.model.vocab_size;
}

void print_cost_line(const Question& question, const Cost& cost, const MemoryEstimate& memory) {
  print_json({{"schema", "troupe.cost/1"},
              {"preset", question.name},
              {"params_total", cost.params_total},
              {"params_active", cost.params_active},
              {"train_zflops", cost.train_zflops()},
              {"flops_per_token", cost.flops_per_token},
              {"params_experts", cost.params_experts},
              {"tokens", question.tokens},
              {"seq_len", question.seq_len},
              {"vocab", output_columns(question)},
              {"rule", question.rule_name},
              {"forward_flops_per_token",
               {{"projections", cost.forward.projections},
                {"attention", cost.forward.attention},
                {"dense_ffn", cost.forward.dense_ffn},
                {"experts", cost.forward.experts},
                {"router", cost.forward.router},
                {"output", cost.forward.output}}},
              {"precision", to_string(question.precision)},
              {"micro_batch", question.micro_batch},
              {"memory_bytes", to_json(memory)}});
}

void print_totals(const Question& question, const Cost& cost) {
  const ModelConfig& model = question.model;
  const std::string experts = model.moe.num_experts == 0 ? "dense"
                                                         : fmt::format("{}, top-{}, in {} of the layers",
                                                                       counted(model.moe.num_experts, "expert"),
                                                                       model.moe.top_k, model.num_moe_layers());
  print("{}: {}, width {}, {}; {} embedding rows\n\n", question.name, counted(model.num_layers, "layer"), model.d_model,
        experts, grouped(model.vocab_size));
  print("parameters         {:>20}\n", grouped(cost.params_total));
  print("  active per token {:>20}\n", grouped(cost.params_active));
  print("  in experts       {:>20}\n", grouped(cost.params_experts));
  print("training           {:>20} for {} tokens\n", flops_text(cost.train_flops), tokens_text(question.tokens));
  print("  per token        {:>20}: {}, V = {}, context {}\n\n", flops_text(cost.flops_per_token),
             question.rule_name == "paper" ? "the paper's rule (layers recomputed, router left out)"
                                           : "nothing recomputed, router counted",
             grouped(output_columns(question)), grouped(question.seq_len));
}

void print_forward(const Question& question, const Cost& cost) {
  std::vector<std::vector<std::string>> rows = {{"forward pass, per token", "MFLOPs", "share"}};
  const auto flops_row = [&](const char* name, double flops) {
    rows.push_back(
        {name, fmt::format("{:.2f}", flops / 1e6), fmt::format("{:.1f} %", 100 * flops / cost.forward.total())});
  };
  flops_row("attention projections", cost.forward.projections);
  flops_row("attention", cost.forward.attention);
  flops_row("dense FFN", cost.forward.dense_ffn);
  if (question.model.moe.num_experts > 0) {
    flops_row("experts", cost.forward.experts);
    if (question.rule.router) flops_row("router", cost.forward.router);
  }
  flops_row("output layer", cost.forward.output);
  flops_row("total", cost.forward.total());
  print_table(rows);
}

void print_memory(const Question& question, const MemoryEstimate& memory) {
  const bool small = memory.total(false) < 1'000'000'000;
  const auto size_text = [&](int64_t bytes) {
    return fmt::format("{:.{}f}", static_cast<double>(bytes) / (small ? 1e6 : 1e9), small ? 1 : 3);
  };
  std::vector<std::vector<std::string>> rows = {
      {fmt::format("memory of training, {}", small ? "MB" : "GB"), "total", "experts"}};
  const auto memory_row = [&](const std::string& name, const MemoryPart& part) {
    rows.push_back({name, size_text(part.total), size_text(part.experts)});
  };
  memory_row("weights, float32", memory.weights);
  memory_row("gradients, float32", memory.gradients);
  if (memory.offloaded.total > 0) memory_row("(moments, in the host's memory)", memory.offloaded);
  memory_row(question.optimizer.matrices == MatrixOptimizer::kMuon ? "optimizer (moments, Muon's workspace)"
             : memory.offloaded.total > 0                          ? "optimizer (room of moments on their way)"
                                                                   : "optimizer (two moments)",
             memory.optimizer);
  if (question.precision == Precision::kBf16)
    memory_row(active_device() == Device::kCuda ? "rounded bf16 copies" : "packed bf16 copies (own kernels)",
               memory.packed);
  rows.push_back({fmt::format("activations, {} x {} tokens", question.micro_batch, grouped(question.seq_len)),
                  size_text(memory.activations), ""});
  rows.push_back({"  with recomputation", size_text(memory.activations_recompute), ""});
  if (memory.workspaces > 0) {
    rows.push_back({"workspaces (logits)", size_text(memory.workspaces), ""});
    rows.push_back({"workspaces of libraries, about", size_text(memory.libraries), ""});
  }
  rows.push_back({"total", size_text(memory.total(false)), ""});
  rows.push_back({"  with recomputation", size_text(memory.total(true)), ""});
  memory_row("weights for use (eval, generate, score)", memory.inference);
  print_table(rows);
}

void print_cost(const CostFlags& flags) {
  const Question question = read_question(flags, true);
  const Cost cost = cost_of(question.model, question.tokens, question.seq_len, question.rule);
  const MemoryEstimate memory = estimate_memory(question.model, question.micro_batch, question.seq_len,
                                                question.precision, question.optimizer, question.freeze, question.lora);
  if (flags.json) return print_cost_line(question, cost, memory);
  print_totals(question, cost);
  print_forward(question, cost);
  print("\n");
  print_memory(question, memory);
}

Json json_of_layout(const Question& question, const ClusterLayout& layout, bool best) {
  const auto bytes = [](const ClusterLayout::Bytes& of) { return Json{{"within", of.within}, {"between", of.between}}; };
  return {{"schema", "troupe.cost.plan/1"},
          {"preset", question.name},
          {"nodes", layout.nodes},
          {"ranks", layout.ranks},
          {"micro_sequences", layout.micro_sequences},
          {"micro_batches", layout.micro_batches},
          {"sequences_per_rank", layout.sequences_per_rank},
          {"experts_per_rank", layout.experts_per_rank},
          {"copies_per_expert", layout.copies_per_expert},
          {"recompute", layout.recompute},
          {"memory_bytes",
           {{"weights", layout.memory.weights},
            {"gradients", layout.memory.gradients},
            {"optimizer", layout.memory.optimizer},
            {"packed", layout.memory.packed},
            {"activations", layout.memory.activations},
            {"exchange", layout.memory.exchange},
            {"total", layout.memory.total()}}},
          {"bytes_sent_per_step",
           {{"rows", bytes(layout.rows)},
            {"logits", bytes(layout.logits)},
            {"dense", bytes(layout.dense)},
            {"copies", bytes(layout.copies)}}},
          {"seconds",
           {{"compute", layout.seconds.compute},
            {"rows", layout.seconds.rows},
            {"logits", layout.seconds.logits},
            {"dense", layout.seconds.dense},
            {"copies", layout.seconds.copies},
            {"step", layout.seconds.step()}}},
          {"tokens_per_s", layout.tokens_per_s},
          {"efficiency", layout.efficiency()},
          {"fits", layout.fits},
          {"best", best}};
}

std::string three_digits(double value) { return fmt::format("{:.3g}", value); }

void print_layouts(const std::vector<ClusterLayout>& layouts, const ClusterLayout* best) {
  std::vector<std::vector<std::string>> rows = {{"nodes", "ranks", "experts a rank", "sequences a rank",
                                                 "micro-batches", "recompute", "GB a rank", "GB sent", "seconds",
                                                 "computing", "tokens/s", ""}};
  for (const ClusterLayout& layout : layouts) {
    rows.push_back({std::to_string(layout.nodes), std::to_string(layout.ranks), std::to_string(layout.experts_per_rank),
                    std::to_string(layout.sequences_per_rank), std::to_string(layout.micro_batches),
                    layout.recompute ? "yes" : "no", three_digits(static_cast<double>(layout.memory.total()) / 1e9),
                    three_digits(layout.sent() / 1e9), three_digits(layout.seconds.step()), percent_text(layout.efficiency()),
                    short_number(layout.tokens_per_s),
                    !layout.fits      ? "too large"
                    : &layout == best ? "best"
                                      : ""});
  }
  print_table(rows);
}

void print_rank(const ClusterLayout& layout) {
  std::vector<std::vector<std::string>> rows = {
      {fmt::format("one of {} ranks", layout.ranks), "GB held", "GB sent within", "between", "seconds"}};
  const auto held = [&](const char* name, int64_t bytes) {
    rows.push_back({name, three_digits(static_cast<double>(bytes) / 1e9), "", "", ""});
  };
  const auto sent = [&](const char* name, const ClusterLayout::Bytes& bytes, double seconds) {
    rows.push_back(
        {name, "", three_digits(bytes.within / 1e9), three_digits(bytes.between / 1e9), three_digits(seconds)});
  };
  held("weights, float32", layout.memory.weights), held("gradients, float32", layout.memory.gradients);
  held("optimizer", layout.memory.optimizer), held("packed bf16 copies", layout.memory.packed);
  held("activations", layout.memory.activations), held("rows of other ranks", layout.memory.exchange);
  rows.push_back({"computing", "", "", "", three_digits(layout.seconds.compute)});
  sent("rows of experts", layout.rows, layout.seconds.rows),
      sent("router logits", layout.logits, layout.seconds.logits);
  sent("dense gradients and parameters", layout.dense, layout.seconds.dense);
  if (layout.copies_per_expert > 1)
    sent("those of copies of an expert", layout.copies, layout.seconds.copies);
  print_table(rows);
}

void print_plan(const CostFlags& flags) {
  const Question question = read_question(flags, false);
  if (question.batch_sequences == 0)
    fail(ErrorCode::kUsage, "cost --plan: expected a model of the study or --config, got {}, whose batch is not known",
         question.name);
  if (flags.lora.is_used() || flags.freeze != Freeze::kNothing)
    fail(ErrorCode::kUsage, "cost --plan: expected training of all parameters, got --freeze or --lora");
  const bool preset = !flags.preset.empty();
  PlannedTraining training{.model = question.model,
                           .precision = question.precision,
                           .optimizer = question.optimizer,
                           .seq_len = question.seq_len,
                           .batch_sequences = question.batch_sequences,
                           .own_groups = preset};
  if (!preset) training.recompute = question.recompute;
  if (!preset || flags.micro_batch > 0) training.micro_sequences = question.micro_batch;
  const ClusterConfig cluster = load_cluster(flags.plan);
  const std::vector<ClusterLayout> layouts = plan_layouts(training, cluster);
  const ClusterLayout* best = nullptr;
  for (const ClusterLayout& layout : layouts)
    if (layout.fits && (!best || layout.tokens_per_s > best->tokens_per_s)) best = &layout;
  if (flags.json) {
    for (const ClusterLayout& layout : layouts) print_json(json_of_layout(question, layout, &layout == best));
  } else {
    print("{}: {} of {} tokens an update, {}\n\n", question.name, counted(question.batch_sequences, "sequence"),
          grouped(question.seq_len), to_string(question.precision));
    print_layouts(layouts, best);
  }
  if (!best) fail(ErrorCode::kNo, "cost --plan: {}: nothing fits into {:.3g} GB a rank", flags.plan, cluster.gb_per_rank);
  if (flags.json) return;
  print("\n");
  print_rank(*best);
}

}  // namespace

void add_cost(CLI::App& app) {
  auto* const command =
      app.add_subcommand("cost", "Parameters, training FLOPs and memory of a model, before training it");
  const auto flags = std::make_shared<CostFlags>();
  command->add_option("--preset", flags->preset, "A model of the study or of GPT-3, e.g. moe-15b (all: --table)")
      ->type_name("PRESET");
  command->add_option("--config", flags->config, "A run's configuration file")->type_name("CONFIG.toml");
  command->add_option("--set", flags->overrides, "Change one key of the configuration; may be repeated")
      ->type_name("key=value")
      ->expected(1)
      ->take_all()
      ->default_str("");
  command->add_flag("--table", flags->table, "The paper's Table 1 beside computed values; exit code 1 if any differs");
  command->add_option("--tokens", flags->tokens, "Training tokens; presets: 300e9; configurations: their own")
      ->transform(whole_number(1, 1'000'000'000'000'000))
      ->type_name("N")
      ->default_str("");
  command->add_option("--seq-len", flags->seq_len, "Context in tokens; the model's (presets: 2048)")
      ->transform(positive_count(1 << 24))
      ->type_name("N")
      ->default_str("");
  command
      ->add_option("--vocab", flags->vocab,
                   "Columns of the output layer in FLOPs (paper's rule: 50000; else the model's); parameters are "
                   "counted with the model's embedding rows whatever this says")
      ->transform(positive_count(1 << 24))
      ->type_name("N")
      ->default_str("");
  limit_to(command->add_option(
               "--rule", flags->rule,
               "What FLOPs count. paper: layers recomputed, router left out (presets). troupe: nothing recomputed, "
               "router counted (configurations)"),
           {"paper", "troupe"})
      ->default_str("");
  command
      ->add_option("--micro-batch", flags->micro_batch,
                   "Sequences whose activations are in memory at a time; the configuration's (presets: 1)")
      ->transform(positive_count(1 << 24))
      ->type_name("N")
      ->default_str("");
  limit_to(command->add_option(
               "--precision", flags->precision,
               "Of matrix products, for the memory of packed weights; the configuration's (presets: bf16)"),
           names_of_enum<Precision>())
      ->default_str("");
  add_choice(*command, "--freeze", flags->freeze,
             "what fine-tuning leaves as it is (finetune.freeze): no gradients and moments of it");
  CLI::Option* const lora =
      command
          ->add_option(
              "--lora", flags->lora.rank,
              "rank of adapters that fine-tuning trains (finetune.lora): their gradients and moments, and a copy "
              "of their matrices")
          ->transform(positive_count(65536))
          ->excludes("--freeze")
          ->type_name("RANK")
          ->default_str("");
  command->add_option("--lora-targets", flags->lora.targets, "matrices that have an adapter (finetune.lora.targets)")
      ->delimiter(',')
      ->needs(lora)
      ->type_name("NAME");
  command->add_option("--lora-dropout", flags->lora.dropout, "of the adapters' inputs (finetune.lora.dropout)")
      ->transform(number(0.0, 0.999))
      ->needs(lora)
      ->type_name("P");
  command
      ->add_option("--plan", flags->plan,
                   "Memory, bytes on the links and time of training on a cluster (docs/distributed.md): TOML with nodes, "
                   "ranks_per_node, gb_per_rank, tflops, [within] and [between]")
      ->excludes("--table")
      ->type_name("CLUSTER.toml");
  command->add_flag("--json", flags->json, "One JSON object (--table, --plan: one a row) on stdout");
  command->callback([flags] {
    if (flags->table && (!flags->preset.empty() || !flags->config.empty()))
      fail(ErrorCode::kUsage, "cost: expected one of --preset, --config and --table, got several");
    if (!flags->plan.empty()) return print_plan(*flags);
    flags->table ? print_paper_table(*flags) : print_cost(*flags);
  });
}

}  // namespace troupe::cli
