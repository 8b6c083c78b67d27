#include "cli/bench_tokenizer.h"

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "data/text/reader.h"
#include "data/tokenizer/bench.h"

namespace troupe::cli {
namespace {

struct Flags {
  std::string tokenizer;
  std::vector<std::string> inputs;
  double seconds = 2.0;
  int64_t train_vocab_size = 4096;
  bool json = false;
};

void run(const Flags& flags) {
  const Tokenizer tokenizer = Tokenizer::load(flags.tokenizer);
  std::vector<std::string> texts;
  for_each_document(flags.inputs, {.split = Split::kFile},
                    [&](Document&& document) { texts.push_back(std::move(document.text)); });
  if (texts.empty()) fail(ErrorCode::kData, "bench tokenizer: expected at least one document, got none");
  const TokenizerSpeed speed = measure_tokenizer(tokenizer, texts, flags.seconds, flags.train_vocab_size);
  const auto row = [&](const char* name, double bytes_per_s) {
    if (flags.json) {
      const nlohmann::ordered_json object = {{"schema", "troupe.bench/1"},
                                             {"name", name},
                                             {"shape", fmt::format("{} texts, {} bytes", texts.size(), speed.bytes)},
                                             {"value", bytes_per_s / 1e6},
                                             {"unit", "MB/s per core"},
                                             {"peak", nullptr},
                                             {"ratio_to_peak", nullptr}};
      fmt::print("{}\n", object.dump());
    } else {
      fmt::print("{:18} {:8.1f} MB/s per core\n", name, bytes_per_s / 1e6);
    }
  };
  if (!flags.json)
    fmt::print("{} texts, {} bytes, {} tokens ({:.2f} bytes per token), one thread\n", texts.size(), speed.bytes,
               speed.tokens,
               static_cast<double>(speed.bytes) / static_cast<double>(std::max<int64_t>(speed.tokens, 1)));
  row("tokenizer-encode", speed.encode_bytes_per_s);
  row("tokenizer-decode", speed.decode_bytes_per_s);
  if (flags.train_vocab_size > 0) row("tokenizer-train", speed.train_bytes_per_s);
}

}  // namespace

void add_bench_tokenizer(CLI::App& bench) {
  auto* const command =
      bench.add_subcommand("tokenizer", "Encoding, decoding and training on your text, on one thread");
  const auto flags = std::make_shared<Flags>();
  command->add_option("inputs", flags->inputs, "Text files or folders")->required()->type_name("FILE|DIR");
  command->add_option("--tokenizer", flags->tokenizer, "tokenizer.json, or a folder with GPT-2's files")
      ->required()
      ->type_name("PATH");
  command->add_option("--seconds", flags->seconds, "Time for each of encoding and decoding")->type_name("S");
  command->add_option("--train-vocab-size", flags->train_vocab_size, "Size of the vocabulary to train, 0 for none")
      ->type_name("N");
  command->add_flag("--json", flags->json, "Print JSON lines");
  command->callback([flags] { run(*flags); });
}

}  // namespace troupe::cli
