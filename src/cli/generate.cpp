// troupe generate: text continuation, streamed.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "cli/command.h"
#include "cli/model_tokenizer.h"
#include "cli/output.h"
#include "cli/standard_streams.h"
#include "cli/validators.h"
#include "infer/generator.h"
#include "io/provenance.h"
#include "model/model_directory.h"

namespace troupe::cli {
namespace {

struct GenerateFlags {
  TokenizerFlags tokenizer;
  std::string model, prompt, precision = "auto";
  GenerateOptions options;
  bool json = false;
};

// Writes tokens as they come, holding back an unfinished UTF-8 sequence.
class Stream {
 public:
  void write(std::string_view bytes) {
    pending_ += bytes;
    size_t complete = pending_.size();
    for (size_t back = 1; back <= 3 && back <= pending_.size(); ++back) {
      const auto byte = static_cast<unsigned char>(pending_[pending_.size() - back]);
      if (byte < 0x80) break;
      if (byte >= 0xC0) {
        const size_t length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : 2;
        if (length > back) complete = pending_.size() - back;
        break;
      }
    }
    flush(complete);
  }
  void finish() { flush(pending_.size()); }

 private:
  void flush(size_t count) {
    print_bytes(std::string_view(pending_).substr(0, count));
    pending_.erase(0, count);
  }
  std::string pending_;
};

void run(const GenerateFlags& flags) {
  const std::filesystem::path folder = find_model(flags.model);
  const std::unique_ptr<LanguageModel> model = load_model(folder, parse_precision(flags.precision));
  const Tokenizer tokenizer = load_model_tokenizer(flags.tokenizer, folder, model->config()).tokenizer;
  if (model->config().moe.capacity != Capacity::kDropless)
    log::info("The model was trained with an expert capacity; generation routes every token (dropless).");
  const std::string text = flags.prompt == "-" ? read_standard_input() : flags.prompt;
  // As in training, a document opens with end-of-text.
  std::vector<int32_t> prompt;
  if (model->config().eos_id >= 0) prompt.push_back(static_cast<int32_t>(model->config().eos_id));
  tokenizer.encode(text, prompt);
  const auto total = static_cast<int64_t>(prompt.size()) + flags.options.max_tokens;
  if (total > model->config().context)
    log::warning("prompt and continuation may reach {} tokens, but the model was trained on {} (model.context)", total,
                 model->config().context);

  Stream stream;
  if (!flags.json) stream.write(text);
  GenerateOptions options = flags.options;
  options.allowed = tokenizer.text_ids();
  const Generation generation = generate(*model, prompt, options, [&](int32_t token) {
    if (!flags.json) stream.write(tokenizer.token_bytes(token));
    return true;
  });
  const auto count = static_cast<int64_t>(generation.tokens.size());
  const double prefill_rate = static_cast<double>(generation.prompt_tokens) / generation.prefill_seconds;
  const double decode_rate = count > 1 ? static_cast<double>(count - 1) / generation.decode_seconds : 0.0;
  if (flags.json) {
    nlohmann::ordered_json line = {{"schema", "troupe.generate/1"},
                                   {"text", tokenizer.decode(generation.tokens)},
                                   {"tokens", count},
                                   {"ended", generation.ended},
                                   {"prefill_tokens_per_s", prefill_rate},
                                   {"decode_tokens_per_s", decode_rate}};
    add_provenance(line, to_string(model->precision()));
    print_json(line);
    return;
  }
  stream.finish();
  print_bytes("\n");
  log::info("{} prompt tokens at {:.0f} tokens/s, {} new tokens at {:.0f} tokens/s", generation.prompt_tokens,
            prefill_rate, count, decode_rate);
}

}  // namespace

void add_generate(CLI::App& app) {
  const auto flags = std::make_shared<GenerateFlags>();
  CLI::App* const command = app.add_subcommand("generate", "Continue a text with a model.");
  command->add_option("--model", flags->model, "Model directory")->required();
  add_tokenizer_flags(*command, flags->tokenizer);
  command->add_option("--prompt", flags->prompt, "Text to continue; - reads standard input; empty starts a document");
  command->add_option("--max-tokens", flags->options.max_tokens, "Most new tokens")->transform(positive_count(1 << 24));
  command->add_option("--temperature", flags->options.sampling.temperature, "0 always takes the most probable token")
      ->transform(number(0.0, 1000.0));
  command->add_option("--top-k", flags->options.sampling.top_k, "Sample among the K most probable tokens; 0: all")
      ->transform(count());
  command
      ->add_option("--top-p", flags->options.sampling.top_p,
                   "Sample among the fewest tokens whose probability reaches this")
      ->transform(probability());
  command->add_option("--seed", flags->options.sampling.seed, "Same seed, same text")->transform(seed());
  command->add_flag("!--ignore-eos", flags->options.stop_at_eos, "Go on after end-of-text");
  command->add_option("--precision", flags->precision, "auto, fp32 or bf16");
  command->add_flag("--json", flags->json, "One JSON object: text, tokens, rates");
  command->callback([flags] { run(*flags); });
}

}  // namespace troupe::cli
