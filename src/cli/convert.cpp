// troupe convert SRC DST: models of other programs as model directories, and ours as those of others.
#include "model/convert.h"

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "base/log.h"
#include "base/quantity.h"
#include "cli/adapter_flag.h"
#include "cli/choice.h"
#include "cli/command.h"
#include "cli/output.h"
#include "data/fairseq/carry_tokenizer.h"
#include "data/shards/tokenizer_identity.h"
#include "data/tokenizer/gguf_tokenizer.h"
#include "data/tokenizer/tokenizer.h"
#include "io/path_kind.h"
#include "io/unfinished.h"
#include "study/metrics_history.h"

namespace troupe::cli {
namespace {

namespace fs = std::filesystem;

struct ConvertFlags {
  std::string source, destination, adapter, to = "troupe", gelu = "auto", tokenizer, family = "auto", dtype = "fp32";
  bool force = false, json = false;
  // Between dense and sparse (model/reshape.h).
  Upcycling upcycling = {.experts = 0};
  std::string dense, use;
};

// The use of experts that the last line of a run's metrics with routers tells, by MoE layer.
std::vector<std::vector<double>> use_of_experts(const fs::path& metrics) {
  const MetricsHistory history = read_metrics(metrics);
  std::vector<std::vector<double>> use;
  if (!history.train.empty())
    for (const RouterLine& router : history.train.back().moe) use.push_back(router.load_E);
  if (use.empty())
    fail(ErrorCode::kData, "{}: expected a line with the load of experts (moe), got none", metrics.string());
  return use;
}

// What the flags make of a model before it is written.
std::function<ReshapedModel(const ModelConfig&, ParameterSource)> reshape_flags(const ConvertFlags& flags) {
  if (flags.upcycling.experts > 0)
    return [&flags](const ModelConfig& config, ParameterSource read) {
      return upcycle(config, std::move(read), flags.upcycling, flags.source);
    };
  if (flags.dense.empty()) return {};
  return [&flags](const ModelConfig& config, ParameterSource read) {
    const fs::path own = fs::path(flags.source) / "metrics.jsonl";
    const fs::path metrics = flags.use.empty() && fs::exists(own) ? own : fs::path(flags.use);
    if (metrics.empty()) log::info("Every expert counts the same (--use RUN/metrics.jsonl tells their loads).");
    const Densify how = flags.dense == "merge" ? Densify::kMerge : Densify::kDrop;
    return make_dense(config, std::move(read), how,
                      metrics.empty() ? std::vector<std::vector<double>>() : use_of_experts(metrics), flags.source);
  };
}

void check_destination(const fs::path& path, bool force) {
  if (!fs::exists(path) || (fs::is_directory(path) && (force || fs::is_empty(path)))) return;
  fail(ErrorCode::kUsage, "{}: expected a new or empty folder, got {}", path.string(),
       fs::is_directory(path) ? "one with files in it (--force replaces it)" : "a file");
}

std::optional<Gelu> gelu_flag(const ConvertFlags& flags) {
  if (flags.gelu == "auto") return std::nullopt;
  return flags.gelu == "tanh" ? Gelu::kTanh : Gelu::kErf;
}

// What a GGUF file holds of the model's tokenizer, or of the one that was asked for, which must be one it can hold.
GgufMetadata tokenizer_metadata(const ConvertFlags& flags, const Conversion& converted) {
  const bool asked = !flags.tokenizer.empty();
  const fs::path from = asked ? fs::path(flags.tokenizer) : converted.folder;
  if (kind_of_path(from) == PathKind::kGguf ? !has_gguf_tokenizer(from) : !has_tokenizer(from)) {
    log::warning("{}: no tokenizer: the file is for ids alone (--tokenizer DIR takes one in)", from.string());
    return no_gguf_tokenizer();
  }
  const auto for_ids_alone = [](std::string_view why) {
    log::warning("{}: the file is for ids alone", why);
    return no_gguf_tokenizer();
  };
  std::optional<Tokenizer> loaded;
  try {
    loaded = Tokenizer::load(from.string());
  } catch (const Error& error) {
    if (asked || error.code() != ErrorCode::kData || !Tokenizer::is_sentencepiece(from.string())) throw;
    return for_ids_alone(error.what());
  }
  const Tokenizer& tokenizer = *loaded;
  if (tokenizer.vocab_size() > converted.config.vocab_size)
    fail(ErrorCode::kData, "{}: expected at most {} ids (the model's vocabulary), got {}", from.string(),
         converted.config.vocab_size, tokenizer.vocab_size());
  if (!asked && !tokenizer.definition().byte_level())
    return for_ids_alone(from.string() + ": no byte-level BPE, the one kind of tokenizer that is written into GGUF");
  return gguf_tokenizer(tokenizer.definition(), converted.config.vocab_size, from.string());
}

GgmlType gguf_type(const std::string& dtype) {
  if (dtype == "q8_0") return GgmlType::kQ8_0;
  if (dtype == "fp16") return GgmlType::kF16;
  return dtype == "bf16" ? GgmlType::kBf16 : GgmlType::kF32;
}

void print_conversion(const ConvertFlags& flags, const Conversion& converted) {
  if (flags.json)
    print_json({{"schema", "troupe.convert/1"},
                {"format_from", converted.format_from},
                {"format_to", flags.to},
                {"tensors", converted.tensors},
                {"params", converted.params}});
  else
    print("{}: {} to {}: {}, {} parameters\n", flags.destination, converted.format_from, flags.to,
          counted(converted.tensors, "tensor"), grouped(converted.params));
}

void run_to_gguf(const ConvertFlags& flags) {
  const fs::path file = flags.destination;
  if (file.extension() != ".gguf")
    fail(ErrorCode::kUsage, "destination: expected a file NAME.gguf (--to gguf), got {}", file.string());
  if (fs::is_directory(file) || (fs::exists(file) && !flags.force))
    fail(ErrorCode::kUsage, "{}: expected a new file, got {}", file.string(),
         fs::is_directory(file) ? "a folder" : "one that is there (--force replaces it)");
  const RemoveOnInterrupt remove_on_interrupt;
  const ConversionTarget target = {.format = flags.to,
                                   .type = gguf_type(flags.dtype),
                                   .tokenizer = [&](const Conversion& of) { return tokenizer_metadata(flags, of); },
                                   .adapter = flags.adapter,
                                   .reshape = reshape_flags(flags)};
  print_conversion(flags, convert_model(flags.source, gelu_flag(flags), file, target));
}

void run(const ConvertFlags& flags) {
  if (flags.family != "auto" && flags.to != "hf")
    fail(ErrorCode::kUsage, "--family: expected it with --to hf alone, got --to {}", flags.to);
  const bool narrow = flags.dtype == "fp16" || flags.dtype == "q8_0";
  if ((flags.to == "troupe" && flags.dtype != "fp32") || (flags.to == "hf" && narrow))
    fail(ErrorCode::kUsage, "--dtype: expected {} with --to {}, got {}", flags.to == "hf" ? "fp32 or bf16" : "fp32",
         flags.to, flags.dtype);
  if (flags.to == "gguf") return run_to_gguf(flags);
  check_destination(flags.destination, flags.force);
  const RemoveOnInterrupt remove_on_interrupt;
  AtomicDirectory out(flags.destination);
  const ConversionTarget target = {.format = flags.to,
                                   .family = flags.family,
                                   .save = {.dtype = flags.dtype == "bf16" ? DType::kBf16 : DType::kF32},
                                   .adapter = flags.adapter,
                                   .reshape = reshape_flags(flags)};
  const Conversion converted = convert_model(flags.source, gelu_flag(flags), out.path(), target);
  const auto tokenizer = carry_tokenizer(flags.tokenizer.empty() ? converted.folder : fs::path(flags.tokenizer),
                                         out.path(), converted.config.vocab_size);
  if (flags.to == "hf" && tokenizer) publish_tokenizer(*tokenizer, out.path());
  out.commit(flags.force ? AtomicDirectory::Existing::kReplace : AtomicDirectory::Existing::kRefuse);
  print_conversion(flags, converted);
}

}  // namespace

void add_convert(CLI::App& app) {
  auto* const command =
      app.add_subcommand("convert", "Convert models: from fairseq, Hugging Face, GGUF and Troupe, to the last three");
  const auto flags = std::make_shared<ConvertFlags>();
  command
      ->add_option(
          "source", flags->source,
          "fairseq: model.pt, or the prefix of NAME-shared.pt and NAME-rank-R.pt, or their folder. Hugging Face: "
          "a directory with config.json and safetensors of a known family. A .gguf file. Troupe: a model directory, or "
          "a run, whose newest checkpoint is taken")
      ->required()
      ->type_name("PATH");
  command
      ->add_option("destination", flags->destination,
                   "A new or empty folder, or NAME.gguf (--to gguf); appears whole or not at all")
      ->required()
      ->type_name("DIR");
  limit_to(command->add_option("--to", flags->to, "Format to write"), {"troupe", "hf", "gguf"});
  limit_to(command->add_option(
               "--gelu", flags->gelu,
               "auto: as the checkpoint says. tanh: for models trained with Megatron's fused bias and GELU, which "
               "fairseq uses where it is installed without a trace in the checkpoint"),
           {"auto", "erf", "tanh"});
  command
      ->add_option("--family", flags->family,
                   "hf: the model_type to write; auto: the first that can say all of the model's facts")
      ->type_name("NAME");
  limit_to(command->add_option("--dtype", flags->dtype,
                               "Type of the weights: hf takes fp32 and bf16, gguf all (of matrices)"),
           {"fp32", "bf16", "fp16", "q8_0"});
  command
      ->add_option("--tokenizer", flags->tokenizer,
                   "Folder with tokenizer.json or tokenizer.model, or with dict.txt, encoder.json and vocab.bpe; SRC's "
                   "own if not given")
      ->check(CLI::ExistingDirectory)
      ->type_name("DIR")
      ->default_str("");
  add_adapter_flag(*command, flags->adapter);
  Upcycling& upcycling = flags->upcycling;
  CLI::Option* const experts =
      command
          ->add_option("--experts", upcycling.experts,
                       "Upcycle a dense model: its FFNs become so many experts; outputs stay equal without --noise")
          ->check(CLI::Range(int64_t{2}, int64_t{65536}))
          ->default_str("");
  command->add_option("--granularity", upcycling.granularity, "Upcycling: experts that a copy of the FFN is cut into")
      ->check(CLI::Range(int64_t{1}, int64_t{1024}))
      ->needs(experts);
  command->add_option("--top-k", upcycling.top_k, "Upcycling: experts per token; a multiple of the granularity")
      ->check(CLI::Range(int64_t{2}, kMaxTopK))
      ->needs(experts);
  command->add_option("--every", upcycling.every, "Upcycling: which layers, as model.moe.every")
      ->check(CLI::Range(int64_t{1}, int64_t{4096}))
      ->needs(experts);
  command
      ->add_option("--noise", upcycling.noise,
                   "Upcycling: normal noise on the experts' matrices, by their root mean square, so that copies differ")
      ->check(CLI::Range(0.0, 100.0))
      ->needs(experts);
  command->add_option("--seed", upcycling.seed, "Upcycling: of noise and routers")->needs(experts);
  CLI::Option* const dense = limit_to(
      command->add_option("--dense", flags->dense,
                          "One FFN in place of experts: merge, their mean by use; drop, the most used ones side by side"),
      {"merge", "drop"});
  dense->excludes(experts);
  command
      ->add_option("--use", flags->use,
                   "--dense: metrics.jsonl of a run, whose last line tells the load of experts; that of SRC if it is a "
                   "run")
      ->check(CLI::ExistingFile)
      ->needs(dense)
      ->type_name("FILE")
      ->default_str("");
  command->add_flag("--force", flags->force, "Replace DST if it holds files");
  command->add_flag("--json", flags->json, "One JSON object on stdout");
  command->callback([flags] { run(*flags); });
}

}  // namespace troupe::cli
