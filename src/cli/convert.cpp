// troupe convert SRC DST: models of other programs as model directories, and ours as those of others.
#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/quantity.h"
#include "cli/choice.h"
#include "cli/command.h"
#include "cli/output.h"
#include "data/fairseq/carry_tokenizer.h"
#include "io/atomic_file.h"
#include "io/unfinished.h"
#include "model/convert.h"

namespace troupe::cli {
namespace {

namespace fs = std::filesystem;

struct ConvertFlags {
  std::string source, destination, to = "troupe", gelu = "auto", tokenizer, family = "auto", dtype = "fp32";
  bool force = false, json = false;
};

void check_destination(const fs::path& path, bool force) {
  if (!fs::exists(path) || (fs::is_directory(path) && (force || fs::is_empty(path)))) return;
  fail(ErrorCode::kUsage, "{}: expected a new or empty folder, got {}", path.string(),
       fs::is_directory(path) ? "one with files in it (--force replaces it)" : "a file");
}

std::optional<Gelu> gelu_flag(const ConvertFlags& flags) {
  if (flags.gelu == "auto") return std::nullopt;
  return flags.gelu == "tanh" ? Gelu::kTanh : Gelu::kErf;
}

void run(const ConvertFlags& flags) {
  if (flags.to == "gguf")
    fail(ErrorCode::kUsage, "--to: expected troupe or hf, got {} (this format cannot be written yet)", flags.to);
  if (flags.to != "hf" && (flags.family != "auto" || flags.dtype != "fp32"))
    fail(ErrorCode::kUsage, "--{}: expected it with --to hf alone, got --to {}",
         flags.family != "auto" ? "family" : "dtype", flags.to);
  check_destination(flags.destination, flags.force);
  const RemoveOnInterrupt remove_on_interrupt;
  AtomicDirectory out(flags.destination);
  const ConversionTarget target = {.format = flags.to,
                                   .family = flags.family,
                                   .save = {.dtype = flags.dtype == "bf16" ? DType::kBf16 : DType::kF32}};
  const Conversion converted = convert_model(flags.source, gelu_flag(flags), out.path(), target);
  carry_tokenizer(flags.tokenizer.empty() ? converted.folder : fs::path(flags.tokenizer), out.path(),
                  converted.config.vocab_size);
  out.commit(flags.force ? AtomicDirectory::Existing::kReplace : AtomicDirectory::Existing::kRefuse);
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

}  // namespace

void add_convert(CLI::App& app) {
  auto* const command = app.add_subcommand("convert", "Convert models: from fairseq, Hugging Face and Troupe, to Troupe and Hugging Face");
  const auto flags = std::make_shared<ConvertFlags>();
  command
      ->add_option("source", flags->source,
                   "fairseq: model.pt, or the prefix of NAME-shared.pt and NAME-rank-R.pt, or their folder. Hugging Face: "
                   "a directory with config.json and safetensors of a known family. Troupe: a model directory, or a "
                   "run, whose newest checkpoint is taken")
      ->required()
      ->type_name("PATH");
  command->add_option("destination", flags->destination, "A new or empty folder; appears whole or not at all")
      ->required()
      ->type_name("DIR");
  limit_to(command->add_option("--to", flags->to, "Format to write; gguf is refused for now"),
           {"troupe", "hf", "gguf"});
  limit_to(command->add_option(
               "--gelu", flags->gelu,
               "auto: as the checkpoint says. tanh: for models trained with Megatron's fused bias and GELU, which "
               "fairseq uses where it is installed without a trace in the checkpoint"),
           {"auto", "erf", "tanh"});
  command->add_option("--family", flags->family,
                      "hf: the model_type to write; auto: the first that can say all of the model's facts")
      ->type_name("NAME");
  limit_to(command->add_option("--dtype", flags->dtype, "hf: type of the weights; bf16 rounds them"), {"fp32", "bf16"});
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
