// troupe convert SRC DST: models of other programs as model directories.
#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"
#include "cli/choice.h"
#include "cli/command.h"
#include "cli/output.h"
#include "data/fairseq/renumber.h"
#include "data/tokenizer/tokenizer.h"
#include "io/atomic_file.h"
#include "io/tensor_stats.h"
#include "io/unfinished.h"
#include "model/decoder_parameters.h"
#include "model/fairseq_model.h"
#include "model/model_directory.h"

namespace troupe::cli {
namespace {

namespace fs = std::filesystem;

struct ConvertFlags {
  std::string source, destination, to = "troupe", gelu = "auto", tokenizer;
  bool force = false, json = false;
};

struct Converted {
  std::string format_from;
  int64_t tensors = 0, params = 0;
};

void check_destination(const fs::path& path, bool force) {
  if (!fs::exists(path) || (fs::is_directory(path) && (force || fs::is_empty(path)))) return;
  fail(ErrorCode::kUsage, "{}: expected a new or empty folder, got {}", path.string(),
       fs::is_directory(path) ? "one with files in it (--force replaces it)" : "a file");
}

// Writes what can be written of the tokenizer, and says what is missing for the rest.
void write_tokenizer(const fs::path& from, const fs::path& to, int64_t vocab_size) {
  const auto exists = [&](const char* name) { return fs::is_regular_file(from / name); };
  if (exists("dict.txt")) fs::copy_file(from / "dict.txt", to / "dict.txt");
  if (exists("tokenizer.json")) {
    const Tokenizer tokenizer = Tokenizer::load((from / "tokenizer.json").string());
    if (tokenizer.vocab_size() > vocab_size)
      fail(ErrorCode::kData, "{}: expected at most {} ids (the model's vocabulary), got {}",
           (from / "tokenizer.json").string(), vocab_size, tokenizer.vocab_size());
    fs::copy_file(from / "tokenizer.json", to / "tokenizer.json");
    return;
  }
  const char* with_token_ids = "the model takes token ids only (score), no text";
  if (!exists("dict.txt")) {
    log::warning("{}: no tokenizer.json and no dict.txt: {}. --tokenizer DIR names a folder with one of them",
                 from.string(), with_token_ids);
    return;
  }
  const std::string dictionary = (from / "dict.txt").string();
  const FairseqDictionary symbols = FairseqDictionary::load(dictionary);
  if (symbols.size() > vocab_size)
    fail(ErrorCode::kData, "{}: expected at most {} symbols ({} embedding rows), got {}", dictionary,
         vocab_size - FairseqDictionary::kFirst, vocab_size, symbols.symbols().size());
  if (!exists("encoder.json") || !exists("vocab.bpe")) {
    log::warning("{}: dict.txt without encoder.json and vocab.bpe (GPT-2's BPE): no tokenizer.json, {}", from.string(),
                 with_token_ids);
    return;
  }
  const TokenizerDefinition gpt2 = parse_gpt2_files(read_file(from / "encoder.json"), (from / "encoder.json").string(),
                                                    read_file(from / "vocab.bpe"), (from / "vocab.bpe").string());
  try {
    Tokenizer(renumber(gpt2, symbols, dictionary)).save((to / "tokenizer.json").string());
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kData) throw;
    log::warning("{}: no tokenizer.json, {}", error.what(), with_token_ids);
  }
}

void warn_if_not_finite(const Parameter& parameter, std::span<const float> values) {
  if (const int64_t count = stats_of(values).non_finite)
    log::warning("{}: {} of {} values are not finite", parameter.name, count, values.size());
}

std::optional<Gelu> gelu_flag(const ConvertFlags& flags) {
  if (flags.gelu == "auto") return std::nullopt;
  return flags.gelu == "tanh" ? Gelu::kTanh : Gelu::kErf;
}

Converted from_fairseq(const ConvertFlags& flags, const fs::path& out) {
  const FairseqCheckpoint checkpoint(flags.source);
  const ModelConfig config = config_of(checkpoint, gelu_flag(flags));
  const ParameterTable table = make_parameter_table(config);
  check_tensors(checkpoint, table);
  for (const std::string& note : checkpoint.notes()) log::info("{}", note);
  for (const std::string& note : ignored_settings(checkpoint)) log::info("{}", note);
  if (flags.gelu == "auto")
    log::info("gelu: {} by activation_fn; a model trained with Megatron's fused kernel needs --gelu tanh",
              name_of_enum(config.gelu));
  write_model(out, config, [&](const Parameter& parameter, std::span<float> values) {
    read_parameter(checkpoint, parameter, values);
    warn_if_not_finite(parameter, values);
  });
  write_tokenizer(flags.tokenizer.empty() ? checkpoint.folder() : fs::path(flags.tokenizer), out, config.vocab_size);
  return {"fairseq", static_cast<int64_t>(table.entries().size()), table.num_parameters()};
}

Converted from_troupe(const ConvertFlags& flags, const fs::path& out) {
  const fs::path source = find_model(flags.source);
  ModelConfig config = read_model_config(source);
  if (const auto gelu = gelu_flag(flags)) config.gelu = *gelu;
  const ParameterTable table = make_parameter_table(config);
  const ModelTensors tensors(source);
  tensors.check_against(table);
  write_model(out, config, [&](const Parameter& parameter, std::span<float> values) {
    convert_to_f32(*tensors.find(parameter.name), values, tensors.where());
    warn_if_not_finite(parameter, values);
  });
  write_tokenizer(flags.tokenizer.empty() ? source : fs::path(flags.tokenizer), out, config.vocab_size);
  return {"troupe", static_cast<int64_t>(table.entries().size()), table.num_parameters()};
}

bool holds_torch_files(const fs::path& folder) {
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.path().extension() == ".pt") return true;
  return false;
}

void run(const ConvertFlags& flags) {
  if (flags.to != "troupe")
    fail(ErrorCode::kUsage, "--to: expected troupe, got {} (this format cannot be written yet)", flags.to);
  check_destination(flags.destination, flags.force);
  const RemoveOnInterrupt remove_on_interrupt;
  AtomicDirectory out(flags.destination);
  const bool is_fairseq = !fs::is_directory(flags.source) || holds_torch_files(flags.source);
  const Converted converted = is_fairseq ? from_fairseq(flags, out.path()) : from_troupe(flags, out.path());
  out.commit(flags.force ? AtomicDirectory::Existing::kReplace : AtomicDirectory::Existing::kRefuse);
  if (flags.json)
    print_json({{"schema", "troupe.convert/1"},
                {"format_from", converted.format_from},
                {"format_to", flags.to},
                {"tensors", converted.tensors},
                {"params", converted.params}});
  else
    print("{}: {} to {}: {} tensors, {} parameters\n", flags.destination, converted.format_from, flags.to,
               grouped(converted.tensors), grouped(converted.params));
}

}  // namespace

void add_convert(CLI::App& app) {
  auto* const command = app.add_subcommand("convert", "Make a model directory from a fairseq checkpoint");
  const auto flags = std::make_shared<ConvertFlags>();
  command
      ->add_option("source", flags->source,
                   "fairseq: model.pt, or the prefix of NAME-shared.pt and NAME-rank-R.pt, or their folder. Troupe: a "
                   "model directory, or a run, whose newest checkpoint is taken")
      ->required()
      ->type_name("PATH");
  command->add_option("destination", flags->destination, "A new or empty folder; appears whole or not at all")
      ->required()
      ->type_name("DIR");
  limit_to(command->add_option("--to", flags->to, "Format to write; hf and gguf are refused for now"),
           {"troupe", "hf", "gguf"});
  limit_to(command->add_option(
               "--gelu", flags->gelu,
               "auto: as the checkpoint says. tanh: for models trained with Megatron's fused bias and GELU, which "
               "fairseq uses where it is installed without a trace in the checkpoint"),
           {"auto", "erf", "tanh"});
  command
      ->add_option("--tokenizer", flags->tokenizer,
                   "Folder with tokenizer.json, or with dict.txt, encoder.json and vocab.bpe; SRC's own if not given")
      ->check(CLI::ExistingDirectory)
      ->type_name("DIR")
      ->default_str("");
  command->add_flag("--force", flags->force, "Replace DST if it holds files");
  command->add_flag("--json", flags->json, "One JSON object on stdout");
  command->callback([flags] { run(*flags); });
}

}  // namespace troupe::cli
