// troupe eval ppl: perplexity on text, token shards and fairseq's binary ids.
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>

#include "base/error.h"
#include "base/log.h"
#include "cli/choice.h"
#include "cli/command.h"
#include "cli/eval.h"
#include "cli/eval_model.h"
#include "cli/model_tokenizer.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/text_options.h"
#include "cli/validators.h"
#include "data/fairseq/indexed_dataset.h"
#include "eval/capacity.h"
#include "eval/perplexity.h"
#include "io/json_fields.h"
#include "io/named_path.h"
#include "model/model_directory.h"
#include "study/study_report.h"

namespace troupe::cli {
namespace {

namespace fs = std::filesystem;

struct PerplexityFlags {
  TokenizerFlags tokenizer;
  std::vector<std::string> models;
  std::string capacity;
  PrecisionChoice precision = PrecisionChoice::kAuto;
  Newline newline = Newline::kKeep;
  std::vector<std::string> data;
  TextOptions text;
  PerplexityOptions options;
  double train_tokens = 0.0;
  bool json = false;
};

// Paths of one data set in the order of the command line.
struct DataSet {
  std::string name;
  bool given = false;  // NAME=, which may come again with further files
  std::vector<std::string> paths;
};

// What a file of text is called for short: 3.10.txt.zst is 3.10.
std::string without_text_extensions(std::string name) {
  for (const std::vector<std::string_view>& extensions :
       {std::vector<std::string_view>{".zst", ".gz"}, {".txt", ".jsonl", ".ndjson", ".bin", ".idx"}})
    for (const std::string_view extension : extensions)
      if (name.size() > extension.size() && name.ends_with(extension)) {
        name.resize(name.size() - extension.size());
        break;
      }
  return name;
}

std::vector<DataSet> parse_data(const std::vector<std::string>& arguments) {
  std::vector<DataSet> sets;
  for (const std::string& argument : arguments) {
    NamedPath entry = parse_named_path(argument, "--data", [](const std::string& path) {
      std::error_code error;
      return fs::exists(path, error) || is_fairseq_binary(path);
    });
    if (!entry.given) entry.name = without_text_extensions(entry.name);
    const auto same =
        std::find_if(sets.begin(), sets.end(), [&](const DataSet& set) { return set.name == entry.name; });
    if (same == sets.end()) {
      sets.push_back({entry.name, entry.given, {entry.path}});
      continue;
    }
    if (!same->given || !entry.given)
      fail(ErrorCode::kUsage,
           "--data: expected names that differ, got {} for {} and {} (write NAME=PATH; given twice it is one data set)",
           entry.name, same->paths.front(), entry.path);
    const auto is_entry = [&](const std::string& path) {
      return fs::weakly_canonical(path) == fs::weakly_canonical(entry.path);
    };
    if (std::any_of(same->paths.begin(), same->paths.end(), is_entry))
      fail(ErrorCode::kUsage, "--data: {}: expected each file once, got {} twice", entry.name, entry.path);
    same->paths.push_back(entry.path);
  }
  return sets;
}

struct ReadText {
  EvalText text;
  TokenizerMatch tokenizer;  // that made its ids
  int64_t skipped = 0;       // damaged documents of the data set that were passed over
};

// Reads data sets; the tokenizer is loaded when text first needs it.
class Reader {
 public:
  Reader(const PerplexityFlags& flags, const fs::path& model, const ModelConfig& config)
      : flags_(flags), model_(model), config_(config) {}

  std::vector<ReadText> read(const DataSet& set) {
    const auto eos = static_cast<int32_t>(config_.eos_id);
    const auto is_binary = [](const std::string& path) {
      return fs::is_regular_file(fs::path(path) / "index.json") || is_fairseq_binary(path);
    };
    if (std::none_of(set.paths.begin(), set.paths.end(), is_binary)) return read_text(set, eos);
    if (!flags_.text.meta_field.empty())
      fail(ErrorCode::kUsage, "--by-field: expected JSON lines, got token ids, {}", set.paths[0]);
    if (set.paths.size() > 1)
      fail(ErrorCode::kUsage, "--data: {}: expected one folder of shards or one pair of fairseq files, got {} paths",
           set.name, set.paths.size());
    if (fs::is_regular_file(fs::path(set.paths[0]) / "index.json")) {
      const TokenDataset shards(set.paths[0]);
      return {{read_eval_shards(set.name, shards, eos), match_shards(flags_.tokenizer, model_, config_, shards)}};
    }
    log::info("{}: names no tokenizer: whether its ids are those of the model's is not known", set.paths[0]);
    return {{read_eval_fairseq(set.name, set.paths[0], eos), TokenizerMatch::kUnknown}};
  }

 private:
  std::vector<ReadText> read_text(const DataSet& set, int32_t eos) {
    if (!tokenizer_) tokenizer_.emplace(load_model_tokenizer(flags_.tokenizer, model_, config_));
    EvalTextOptions options{.text = flags_.text, .end_of_text = eos};
    options.newline = flags_.newline;
    TextStats stats;
    std::vector<EvalText> texts = read_eval_text(set.name, set.paths, tokenizer_->tokenizer, options, stats);
    log::info("{}: {}", set.name, stats.report());
    std::vector<ReadText> read;
    const int64_t skipped = stats.total_skipped() - stats.skip(SkipReason::kEmpty).count;
    for (EvalText& text : texts) read.push_back({std::move(text), tokenizer_->match, skipped});
    return read;
  }

  const PerplexityFlags& flags_;
  const fs::path model_;
  const ModelConfig& config_;
  std::optional<ModelTokenizer> tokenizer_;
};

// One model on every data set: a line or a row each, and the results that comparisons need.
class ModelRun {
 public:
  ModelRun(const PerplexityFlags& flags, const NamedPath& entry)
      : flags_(flags), name_(entry.name), given_(entry.path), folder_(find_model(entry.path)) {
    config_ = read_model_config(folder_);
  }

  // Reads and checks everything.
  void read(const std::vector<DataSet>& sets) {
    Reader reader(flags_, folder_, config_);
    for (const DataSet& set : sets)
      for (ReadText& read : reader.read(set)) {
        check_eval_text(read.text, config_);
        texts_.push_back(std::move(read));
      }
  }

  ModelResult score(Precision precision, const std::string& mode, bool named, TextTable& table) {
    const std::unique_ptr<LanguageModel> model = load_model(folder_, precision);
    ModelFacts facts = model_facts(given_, model->config(), flags_.train_tokens);
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
            .tokenizer = match_name(tokenizer),
            .model = facts,
            .document_scores = results.domains.back().documents}));
      std::vector<std::string>& row = table.emplace_back();
      if (named) row.push_back(name_);
      row.insert(row.end(), {text.name, grouped(text.documents()), grouped(result.sum.tokens),
                             number_text(result.nll(), 4), number_text(result.standard_error(), 4),
                             number_text(result.perplexity(), 3), number_text(result.bits_per_byte(), 4),
                             percent_text(result.sum.drop_rate())});
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
  std::vector<ReadText> texts_;
  std::vector<std::string> checksums_;
  std::string precision_;
};

void run(PerplexityFlags& flags) {
  if (flags.options.stride > 0 && flags.options.mode == WindowMode::kBlocks)
    fail(ErrorCode::kUsage, "--stride: expected --mode sliding or documents, got {}",
         name_of_enum(flags.options.mode));
  flags.options.capacity = parse_capacity(!flags.capacity.empty() ? flags.capacity
                                          : flags.options.fairseq ? "configured"
                                                                  : "dropless");
  const Precision precision = precision_of(flags.precision);
  const std::vector<DataSet> sets = parse_data(flags.data);
  const std::vector<NamedPath> entries = parse_named_paths(flags.models, "--model");
  const bool named = entries.size() > 1 || entries.front().given;
  if (entries.size() > 1)
    for (const DataSet& set : sets)
      if (std::find(set.paths.begin(), set.paths.end(), "-") != set.paths.end())
        fail(ErrorCode::kUsage, "--data: {}: expected files for several models, got standard input, which can be read once",
             set.name);
  // Everything is read and checked before the first token is scored.
  std::vector<std::unique_ptr<ModelRun>> runs;
  for (const NamedPath& entry : entries) {
    runs.push_back(std::make_unique<ModelRun>(flags, entry));
    runs.back()->read(sets);
  }
  const std::string mode = flags.options.fairseq ? "fairseq" : std::string(name_of_enum(flags.options.mode));
  TextTable table = {{"data", "documents", "tokens", "nll", "std. error", "ppl", "bits/byte", "dropped"}};
  if (named) table.front().insert(table.front().begin(), "model");
  std::vector<ModelResult> results;
  for (const auto& run : runs) {
    results.push_back(run->score(precision, mode, named, table));
    for (size_t d = 0; d < results.back().domains.size() && d < results.front().domains.size(); ++d)
      if (run->checksums()[d] != runs.front()->checksums()[d]) {
        log::warning("{}: {} and {} read other tokens (another tokenizer): their scores are not compared",
                     results.back().domains[d].name, results.front().name, results.back().name);
        results.back().domains[d].documents.clear();
      }
  }
  const std::vector<Comparison> comparisons = compare_to_first(results);
  if (flags.json) {
    for (const Comparison& c : comparisons) print_json(json_of(comparison_line(c, kEvalComparison)));
    return;
  }
  print_table(table);
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
      ->add_option("--model", flags->models,
                   "model directory, or a run's folder; several, each DIR or NAME=DIR, are compared document by document "
                   "with the first")
      ->required()
      ->type_name("MODEL");
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
  add_choice(*command, "--precision", flags->precision, "auto: bf16 if the processor multiplies it");
  add_train_tokens_flag(*command, flags->train_tokens);
  command->add_flag("--json", flags->json, "one JSON object per model and data set, and per comparison");
  command->callback([flags] { run(*flags); });
}

}  // namespace troupe::cli
