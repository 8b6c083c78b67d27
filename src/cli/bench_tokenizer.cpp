// troupe bench tokenizer: bytes per second of one thread's processor time for encoding, decoding and training.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/bench.h"
#include "cli/output.h"
#include "cli/tokenizer_speed.h"
#include "cli/validators.h"
#include "data/text/reader.h"
#include "data/tokenizer/bpe_trainer.h"
#include "io/atomic_file.h"
#include "io/provenance.h"

namespace troupe::cli {
namespace {

struct TokenizerBenchFlags {
  std::string tokenizer;
  std::vector<std::string> inputs;
  double seconds = 2.0;
  int64_t train_vocab_size = 4096;
  bool json = false;
};

// English that every Debian machine has.
constexpr const char* kDefaultTexts = "/usr/share/common-licenses";
constexpr int64_t kDefaultVocabSize = 8192;

std::vector<std::string> read_texts(const std::vector<std::string>& inputs) {
  std::vector<std::string> texts;
  if (!inputs.empty()) {
    for_each_document(inputs, {.split = Split::kFile},
                      [&](Document&& document) { texts.push_back(std::move(document.text)); });
  } else if (std::filesystem::is_directory(kDefaultTexts)) {
    for (const auto& entry : std::filesystem::directory_iterator(kDefaultTexts))
      if (entry.is_regular_file() && !entry.is_symlink()) texts.push_back(read_file(entry.path()));
    std::sort(texts.begin(), texts.end());
  }
  if (texts.empty()) fail(ErrorCode::kUsage, "bench tokenizer: INPUT: expected text to measure on, got none");
  return texts;
}

Tokenizer trained_on(const std::vector<std::string>& texts) {
  BpeTrainer trainer({.vocab_size = kDefaultVocabSize});
  for (const std::string& text : texts) trainer.add(text);
  return trainer.finish();
}

void run(const TokenizerBenchFlags& flags) {
  const std::vector<std::string> texts = read_texts(flags.inputs);
  const Tokenizer tokenizer = flags.tokenizer.empty() ? trained_on(texts) : Tokenizer::load(flags.tokenizer);
  const TokenizerSpeed speed = measure_tokenizer(tokenizer, texts, flags.seconds, flags.train_vocab_size);
  const auto row = [&](const char* name, int64_t vocab_size, double bytes_per_s) {
    const std::string shape = fmt::format("{} texts, {} bytes, V {}", texts.size(), speed.bytes, vocab_size);
    if (flags.json) {
      nlohmann::ordered_json line = {{"schema", "troupe.bench/1"},
                                     {"name", name},
                                     {"shape", shape},
                                     {"value", bytes_per_s / 1e6},
                                     {"unit", "MB/s"},
                                     {"peak", nullptr},
                                     {"ratio_to_peak", nullptr},
                                     {"threads", 1},
                                     {"tokens", speed.tokens}};
      add_provenance(line);
      print_json(line);
    } else {
      print("{:26} {:34} {:9.1f} MB/s\n", name, shape, bytes_per_s / 1e6);
    }
  };
  if (!flags.json) print("1 thread, its processor time; encoding with a warm cache of words\n");
  row("tokenizer-encode", tokenizer.vocab_size(), speed.encode_bytes_per_s);
  row("tokenizer-decode", tokenizer.vocab_size(), speed.decode_bytes_per_s);
  if (flags.train_vocab_size > 0) row("tokenizer-train", flags.train_vocab_size, speed.train_bytes_per_s);
}

}  // namespace

void add_bench_tokenizer(CLI::App& bench) {
  auto* const command = bench.add_subcommand("tokenizer", "Encoding, decoding and training a tokenizer, on one thread");
  const auto flags = std::make_shared<TokenizerBenchFlags>();
  command
      ->add_option("INPUT", flags->inputs,
                   fmt::format("files (.txt, .jsonl, either .zst or .gz) or folders; none: {}", kDefaultTexts))
      ->type_name("FILE|DIR");
  command
      ->add_option("--tokenizer", flags->tokenizer,
                   fmt::format("tokenizer.json or tokenizer.model, or a folder with one or with GPT-2's files; none: "
                               "one of {} tokens, trained on the text",
                               kDefaultVocabSize))
      ->type_name("PATH");
  command->add_option("--seconds", flags->seconds, "Time per line")->transform(number(0.0, 3600.0));
  command->add_option("--train-vocab-size", flags->train_vocab_size, "Vocabulary to train for the last line, 0: none")
      ->transform(count())
      ->type_name("N");
  command->add_flag("--json", flags->json, "One JSON object a line");
  command->callback([flags] { run(*flags); });
}

}  // namespace troupe::cli
