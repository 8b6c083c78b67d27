// troupe generate: text continuation, streamed, or as JSON lines for many prompts and samples.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "cli/adapter_flag.h"
#include "cli/choice.h"
#include "cli/command.h"
#include "cli/device.h"
#include "cli/output.h"
#include "cli/ranks.h"
#include "cli/standard_streams.h"
#include "cli/tokenizer_flags.h"
#include "cli/validators.h"
#include "infer/generator.h"
#include "infer/prompts.h"
#include "infer/text_stream.h"
#include "io/provenance.h"
#include "model/model_directory.h"

namespace troupe::cli {
namespace {

namespace fs = std::filesystem;

struct GenerateFlags {
  TokenizerChoice tokenizer;
  std::string model, adapter, prompt, prompts;
  PrecisionChoice precision = PrecisionChoice::kAuto;
  std::vector<std::string> stops;
  GenerateOptions options;
  int64_t samples = 1;
  bool json = false;
};

struct Prompt {
  std::string text;
  std::vector<int32_t> ids;
};

// What stands before a text: of a model of another program what its tokenizer says, perhaps nothing; one of ours has seen
// documents open with end-of-text.
std::vector<int32_t> opening(const fs::path& folder, const Tokenizer& tokenizer, const ModelConfig& config) {
  if (!model_family(folder).empty()) return tokenizer.prefix();
  if (config.eos_id < 0) return {};
  return {static_cast<int32_t>(config.eos_id)};
}

std::vector<Prompt> prompts_of(const GenerateFlags& flags, const Tokenizer& tokenizer, const ModelConfig& config,
                               const std::vector<int32_t>& before) {
  std::vector<std::string> texts;
  if (!flags.prompts.empty())
    texts = read_prompts(flags.prompts);
  else
    texts.push_back(flags.prompt == "-" ? read_standard_input() : flags.prompt);
  std::vector<Prompt> prompts;
  size_t longest = 0;
  for (std::string& text : texts) {
    Prompt prompt{std::move(text), {}};
    prompt.ids = before;
    tokenizer.encode(prompt.text, prompt.ids);
    if (prompt.ids.empty() && config.eos_id >= 0) prompt.ids = {static_cast<int32_t>(config.eos_id)};
    const auto tokens = static_cast<int64_t>(prompt.ids.size());
    if (!flags.prompts.empty() && (tokens == 0 || (config.positions == Positions::kLearned && tokens > config.context)))
      fail(ErrorCode::kData, "{}:{}: prompt: expected 1 to {} tokens (model.context, learned positions), got {}",
           flags.prompts, prompts.size() + 1, config.context, tokens);
    longest = std::max(longest, prompt.ids.size());
    prompts.push_back(std::move(prompt));
  }
  const auto total = static_cast<int64_t>(longest) + flags.options.max_tokens;
  if (total > config.context)
    log::warning("prompt and continuation may reach {} tokens, but the model was trained on {} (model.context)", total,
                 config.context);
  return prompts;
}

void run(const GenerateFlags& flags) {
  require_one_process("generate");
  TextStream(flags.stops);  // refuses what no stop text can be before anything is read
  const std::filesystem::path folder = find_model(flags.model);
  choose_device_for(read_model_config(folder));
  const std::unique_ptr<LanguageModel> model = load_model(folder, precision_of(flags.precision), flags.adapter);
  const Tokenizer tokenizer = load_model_tokenizer(flags.tokenizer, folder, model->config()).tokenizer;
  if (model->config().moe.capacity != Capacity::kDropless)
    log::info("The model was trained with an expert capacity; generation routes every token (dropless).");
  const std::vector<Prompt> prompts = prompts_of(flags, tokenizer, model->config(), opening(folder, tokenizer, model->config()));
  if (flags.samples > 1 && flags.options.sampling.temperature <= 0.0)
    log::warning("--samples {}: with --temperature 0 all samples are the same", flags.samples);

  const bool json = flags.json || !flags.prompts.empty();
  GenerateOptions options = flags.options;
  options.allowed = tokenizer.text_ids();
  for (size_t index = 0; index < prompts.size(); ++index) {
    const Prompt& prompt = prompts[index];
    Generator generator(*model, prompt.ids);
    for (int64_t sample = 0; sample < flags.samples; ++sample) {
      options.sampling.seed = sample_seed(flags.options.sampling.seed, sample);
      TextStream stream(flags.stops);
      std::string text;
      const auto show = [&](const std::string& bytes) {
        if (json)
          text += bytes;
        else
          print_bytes(bytes);
      };
      if (!json) print_bytes((sample > 0 ? "\n" : "") + prompt.text);
      const Generation generation = generator.run(options, [&](int32_t token) {
        show(stream.write(tokenizer.token_bytes(token)));
        return !stream.stopped();
      });
      show(stream.finish());
      const auto count = static_cast<int64_t>(generation.tokens.size());
      const double prefill_rate = static_cast<double>(generation.prompt_tokens) / generation.prefill_seconds;
      const double decode_rate = count > 1 ? static_cast<double>(count - 1) / generation.decode_seconds : 0.0;
      if (json) {
        nlohmann::ordered_json line = {{"schema", "troupe.generate/1"},
                                       {"prompt_index", index},
                                       {"sample", sample},
                                       {"seed", options.sampling.seed},
                                       {"text", text},
                                       {"tokens", count},
                                       {"finish_reason", name_of_enum(generation.finish)},
                                       {"ended", generation.finish == FinishReason::kEndOfText},
                                       {"prefill_tokens_per_s", prefill_rate},
                                       {"decode_tokens_per_s", decode_rate}};
        add_provenance(line, to_string(model->precision()));
        print_json(line);
        continue;
      }
      print_bytes("\n");
      log::info("{} prompt tokens at {:.0f} tokens/s, {} new tokens at {:.0f} tokens/s", generation.prompt_tokens,
                prefill_rate, count, decode_rate);
    }
  }
}

}  // namespace

void add_generate(CLI::App& app) {
  const auto flags = std::make_shared<GenerateFlags>();
  CLI::App* const command = app.add_subcommand("generate", "Continue texts with a model.");
  command->add_option("--model", flags->model, "Model directory, or a run's folder")->required()->type_name("MODEL");
  add_adapter_flag(*command, flags->adapter);
  add_tokenizer_flags(*command, flags->tokenizer);
  CLI::Option* const prompt = command->add_option(
      "--prompt", flags->prompt, "Text to continue; - reads standard input; empty starts a document");
  command
      ->add_option("--prompts", flags->prompts,
                   "File of prompts: JSON lines with \"prompt\", or a .txt with one a line; implies --json")
      ->type_name("FILE")
      ->excludes(prompt);
  command
      ->add_option("--samples", flags->samples, "Continuations of each prompt; the first is that of --samples 1")
      ->transform(positive_count(1 << 24));
  command->add_option("--max-tokens", flags->options.max_tokens, "Most new tokens")->transform(positive_count(1 << 24));
  command
      ->add_option_function<std::string>(
          "--stop", [flags](const std::string& text) { flags->stops.push_back(text); },
          "End before this text; may be given several times")
      ->trigger_on_parse();
  SamplingOptions& sampling = flags->options.sampling;
  command
      ->add_option("--repetition-penalty", sampling.repetition_penalty,
                   "Divides positive logits of tokens that were there, multiplies negative ones; 1: none")
      ->transform(number(0.01, 100.0));
  command->add_option("--temperature", sampling.temperature, "0 always takes the most probable token")
      ->transform(number(0.0, 1000.0));
  command->add_option("--top-k", sampling.top_k, "Sample among the K most probable tokens; 0: all")
      ->transform(count());
  command
      ->add_option("--top-p", sampling.top_p, "Sample among the fewest tokens whose probability reaches this")
      ->transform(probability());
  command
      ->add_option("--min-p", sampling.min_p,
                   "Sample among tokens at least this many times as probable as the most probable one; 0: all")
      ->transform(probability());
  command->add_option("--seed", sampling.seed, "Same seed, same text")->transform(seed());
  command->add_flag("!--ignore-eos", flags->options.stop_at_eos, "Go on after end-of-text");
  add_choice(*command, "--precision", flags->precision, "auto: bf16 on a GPU, and if the processor multiplies it");
  command->add_flag("--json", flags->json, "One JSON object a line: text, tokens, finish_reason, rates");
  command->callback([flags] { run(*flags); });
}

}  // namespace troupe::cli
