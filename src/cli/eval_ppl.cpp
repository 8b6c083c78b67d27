// troupe eval ppl: perplexity on text, token shards and fairseq's binary ids.
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <memory>

#include "base/error.h"
#include "base/log.h"
#include "cli/adapter_flag.h"
#include "cli/choice.h"
#include "cli/command.h"
#include "cli/device.h"
#include "cli/eval.h"
#include "cli/eval_model.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/ranks.h"
#include "cli/text_options.h"
#include "cli/tokenizer_flags.h"
#include "cli/validators.h"
#include "dist/mpi.h"
#include "eval/capacity.h"
#include "eval/data_sets.h"
#include "eval/perplexity.h"
#include "io/json_fields.h"
#include "io/named_path.h"
#include "model/model_directory.h"
#include "study/study_report.h"
#include "train/model_facts.h"

namespace troupe::cli {
namespace {

namespace fs = std::filesystem;

struct PerplexityFlags {
  TokenizerChoice tokenizer;
  std::vector<std::string> models;
  std::string adapter;
  std::string capacity;
  PrecisionChoice precision = PrecisionChoice::kAuto;
  Newline newline = Newline::kKeep;
  std::vector<std::string> data;
  TextOptions text;
  PerplexityOptions options;
  double train_tokens = 0.0, watchdog_s = 60.0;
  bool json = false;
};

// One model on every data set: a line or a row each, and the results that comparisons need.
class ModelRun {
 public:
  ModelRun(const PerplexityFlags& flags, const NamedPath& entry)
      : flags_(flags), name_(entry.name), given_(entry.path), folder_(find_model(entry.path)) {
    config_ = read_model_config(folder_);
  }

  const ModelConfig& config() const { return config_; }

  // Reads and checks everything.
  void read(const std::vector<DataSet>& sets) {
    DataSetReader reader(flags_.tokenizer, {.text = flags_.text, .newline = flags_.newline}, folder_, config_);
    for (const DataSet& set : sets)
      for (SetText& read : reader.read(set)) {
        check_eval_text(read.text, config_);
        texts_.push_back(std::move(read));
      }
  }

  ModelResult score(Precision precision, const std::string& mode, bool named, TextTable& table) {
    std::unique_ptr<LanguageModel> model;
    run_together(
        flags_.options.ranks, [&] { model = load_model(folder_, precision, flags_.adapter); }, "reading the model");
    ModelFacts facts = model_facts(given_, model->config(), flags_.train_tokens, flags_.adapter);
    facts.provenance->precision = to_string(model->precision());
    if (named) facts.model = name_;
    ModelResult results{.name = name_};
    for (const auto& [text, tokenizer, skipped] : texts_) {
      Progress progress(named ? name_ + ", " + text.name : text.name, 1.0);
      const PerplexityResult result =
          evaluate_perplexity(*model, text, flags_.options, [&](int64_t done, int64_t total) {
            progress.update(static_cast<double>(done) / static_cast<double>(total),
                            fmt::format("{}/{} windows", done, total));
          });
      progress.clear();
      results.domains.push_back({.name = text.name, .documents = result.document_scores(), .load_LE = {}});
      checksums_.push_back(text.checksum());
      if (flags_.json)
        print_json(json_of(PerplexityLine{
            .data = text.name,
            .tokens = result.sum.tokens,
            .bytes = result.bytes < 0 ? std::nullopt : std::optional(result.bytes),
            .nll = result.nll(),
            .ppl = result.perplexity(),
            .bits_per_byte = result.bits_per_byte(),
            .drop_rate = result.sum.drop_rate(),
            .standard_error = result.standard_error(),
            .nll_sum = result.sum.nll,
            .documents = text.documents(),
            .skipped = skipped,
            .capacity = to_string(flags_.options.capacity),
            .mode = mode,
            .context = result.context,
            .batch = result.batch_sequences,
            .precision = to_string(model->precision()),
            .data_checksum = checksums_.back(),
            .tokenizer = std::string(name_of_enum(tokenizer)),
            .model = facts,
            .document_scores = results.domains.back().documents}));
      std::vector<std::string>& row = table.emplace_back();
      if (named) row.push_back(name_);
      row.insert(row.end(),
                 {text.name, grouped(text.documents()), grouped(result.sum.tokens), number_text(result.nll(), 4),
                  number_text(result.half_interval(), 4), number_text(result.perplexity(), 3),
                  number_text(result.bits_per_byte(), 4), percent_text(result.sum.drop_rate())});
    }
    precision_ = to_string(model->precision());
    return results;
  }

  // Of the texts as they were scored; texts of one name with other ids are no pair.
  const std::vector<std::string>& checksums() const { return checksums_; }
  const std::string& precision() const { return precision_; }
  int64_t context() const { return flags_.options.context ? flags_.options.context : config_.context; }

 private:
  const PerplexityFlags& flags_;
  const std::string name_, given_;
  const fs::path folder_;
  ModelConfig config_;
  std::vector<SetText> texts_;
  std::vector<std::string> checksums_;
  std::string precision_;
};

// Every model's texts, read and checked before the first token is scored.
std::vector<std::unique_ptr<ModelRun>> read_runs(const PerplexityFlags& flags, const std::vector<DataSet>& sets,
                                                 const std::vector<NamedPath>& entries) {
  if (const bool several = launched_ranks() > 1; several || entries.size() > 1)
    for (const DataSet& set : sets)
      if (std::find(set.paths.begin(), set.paths.end(), "-") != set.paths.end())
        fail(ErrorCode::kUsage, "--data: {}: expected files for several {}, got standard input, which can be read once",
             set.name, several ? "ranks" : "models");
  std::vector<std::unique_ptr<ModelRun>> runs;
  for (const NamedPath& entry : entries) {
    runs.push_back(std::make_unique<ModelRun>(flags, entry));
    runs.back()->read(sets);
  }
  return runs;
}

// What is to be compared with `first` but read other tokens is no pair.
void drop_other_tokens(const ModelRun& first, const ModelRun& run, const std::string& name_of_first,
                       ModelResult& results) {
  for (size_t d = 0; d < results.domains.size() && d < first.checksums().size(); ++d)
    if (run.checksums()[d] != first.checksums()[d]) {
      log::warning("{}: {} and {} read other tokens (another tokenizer): their scores are not compared",
                   results.domains[d].name, name_of_first, results.name);
      results.domains[d].documents.clear();
    }
}

struct PerplexityRuns {
  std::vector<NamedPath> entries;
  std::vector<std::unique_ptr<ModelRun>> runs;
};

PerplexityRuns prepare(PerplexityFlags& flags) {
  if (flags.options.stride > 0 && flags.options.mode == WindowMode::kBlocks)
    fail(ErrorCode::kUsage, "--stride: expected --mode sliding or documents, got {}",
         name_of_enum(flags.options.mode));
  flags.options.capacity = parse_capacity(!flags.capacity.empty() ? flags.capacity
                                          : flags.options.fairseq ? "configured"
                                                                  : "dropless");
  const std::vector<DataSet> sets = parse_data_sets(flags.data);
  std::vector<NamedPath> entries = parse_named_paths(flags.models, "--model");
  if (!flags.adapter.empty() && entries.size() > 1)
    fail(ErrorCode::kUsage, "--adapter: expected one --model beside it, got {}", entries.size());
  std::vector<std::unique_ptr<ModelRun>> runs = read_runs(flags, sets, entries);
  return {std::move(entries), std::move(runs)};
}

void run(PerplexityFlags& flags, Communicator* ranks) {
  PerplexityRuns prepared;
  run_together(ranks, [&] { prepared = prepare(flags); }, "reading the data");
  flags.options.ranks = ranks;
  describe_shared_evaluation(ranks);
  const auto& [entries, runs] = prepared;
  const auto narrower = [](const auto& a, const auto& b) { return a->config().head_width() < b->config().head_width(); };
  choose_device_for((*std::max_element(runs.begin(), runs.end(), narrower))->config(), ranks);
  const Precision precision = precision_of(flags.precision);
  const std::string mode = flags.options.fairseq ? "fairseq" : std::string(name_of_enum(flags.options.mode));
  const bool named = entries.size() > 1 || entries.front().given;
  TextTable table = {{"data", "documents", "tokens", "nll", "± 95 %", "ppl", "bits/byte", "dropped"}};
  if (named) table.front().insert(table.front().begin(), "model");
  std::vector<ModelResult> results;
  for (const auto& run : runs) {
    results.push_back(run->score(precision, mode, named, table));
    drop_other_tokens(*runs.front(), *run, results.front().name, results.back());
  }
  const std::vector<Comparison> comparisons = compare_to_first(results);
  if (flags.json) {
    for (const Comparison& c : comparisons) print_json(json_of(comparison_line(c, kEvalComparison)));
    return;
  }
  print_table(table);
  print("± 95 %: half the 95 % interval of nll, by t over documents.\n");
  if (!comparisons.empty()) {
    print("\n");
    print_table(comparison_table(comparisons));
    print("\nBelow 0 the model predicts better. {}\n", kPairedNote);
  }
  log::info("{}, {}, {} of {} tokens, {} routing", fmt::join(flags.models, ", "), runs.front()->precision(), mode,
            runs.front()->context(), to_string(flags.options.capacity));
}

}  // namespace

void add_eval_ppl(CLI::App& eval) {
  const auto flags = std::make_shared<PerplexityFlags>();
  CLI::App* const command = eval.add_subcommand("ppl", "Perplexity and bits per byte on text");
  command
      ->add_option(
          "--model", flags->models,
          "model directory, or a run's folder; several, each DIR or NAME=DIR, are compared document by document "
          "with the first")
      ->required()
      ->type_name("MODEL");
  add_adapter_flag(*command, flags->adapter);
  command
      ->add_option(
          "--data", flags->data,
          "NAME=PATH or PATH, any number: text (.txt, .jsonl, either .zst or .gz, a folder), a folder of token "
          "shards, or fairseq's PREFIX of .bin and .idx; the same NAME given again adds files")
      ->required()
      ->type_name("NAME=PATH");
  add_tokenizer_flags(*command, flags->tokenizer);
  add_choice(*command, "--mode", flags->options.mode,
             "blocks of the whole text, sliding windows over it, or documents one by one");
  command->add_option("--context", flags->options.context, "tokens of a sequence (default: the model's context)")
      ->transform(positive_count());
  command
      ->add_option("--stride", flags->options.stride,
                   "tokens by which windows move (default: half the context when sliding, all of it in documents)")
      ->transform(positive_count());
  command->add_option("--batch", flags->options.batch_sequences, "sequences in a batch (default: about 4,096 tokens)")
      ->transform(positive_count());
  command->add_option("--capacity", flags->capacity,
                      "places per expert: dropless, train, configured or a fraction of a batch's tokens (default: "
                      "dropless; with --fairseq: configured)")
      ->type_name("RULE");
  command
      ->add_flag("--fairseq", flags->options.fairseq,
                    "fairseq's eval_lm: its blocks, their order in batches, padding of MoE models")
      ->excludes("--mode")
      ->excludes("--stride");
  command
      ->add_option("--context-window", flags->options.context_window,
                   "with --fairseq: unscored tokens in front of each block, taken out of the context")
      ->transform(count())
      ->needs("--fairseq");
  add_choice(*command, "--newline", flags->newline,
             "what the end of a line becomes: keep it, or eos (end-of-text, as in the study's corpora)");
  command->add_option("--by-field", flags->text.meta_field,
                      "JSON lines: one result per value of this field, e.g. meta.pile_set_name")
      ->type_name("KEY");
  add_text_options(*command, flags->text);
  add_choice(*command, "--precision", flags->precision, "auto: bf16 on a GPU, and if the processor multiplies it");
  add_train_tokens_flag(*command, flags->train_tokens);
  command->add_flag("--json", flags->json, "one JSON object per model and data set, and per comparison");
  add_watchdog_flag(*command, flags->watchdog_s);
  command->callback([flags] {
    run_on_ranks(flags->watchdog_s, [&](Communicator* ranks) { run(*flags, ranks); });
  });
}

}  // namespace troupe::cli
