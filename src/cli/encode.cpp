// troupe encode: text to token shards.
#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/log.h"
#include "base/quantity.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/text_options.h"
#include "cli/validators.h"
#include "data/shards/encode_text.h"
#include "io/unfinished.h"

namespace troupe::cli {
namespace {

struct EncodeArguments {
  std::string tokenizer, out;
  std::vector<std::string> inputs;
  EncodeOptions options;
  bool json = false;
};

void run(const EncodeArguments& arguments) {
  const RemoveOnInterrupt remove_on_interrupt;
  const Tokenizer tokenizer = Tokenizer::load(arguments.tokenizer);
  const auto start = Clock::now();
  const auto seconds = [&] { return seconds_since(start); };
  Progress progress("encode");
  const EncodeStats stats =
      encode_text(arguments.inputs, tokenizer, arguments.out, arguments.options, [&](const EncodeStats& so_far) {
        progress.update(0, fmt::format("{}, {}, {}, {}/s", short_counted(so_far.documents, "document"),
                                       short_bytes(so_far.text_bytes), short_counted(so_far.tokens, "token"),
                                       short_bytes(so_far.text_bytes / std::max(seconds(), 1e-9))));
      });
  progress.clear();
  log::info("{}", stats.text.report());
  const double bytes_per_s = static_cast<double>(stats.text_bytes) / std::max(seconds(), 1e-9);
  if (arguments.json) {
    const nlohmann::ordered_json line = {{"schema", "troupe.encode/1"},  {"out", arguments.out},
                                         {"documents", stats.documents}, {"tokens", stats.tokens},
                                         {"bytes", stats.text_bytes},    {"skipped", stats.text.total_skipped()},
                                         {"time_s", seconds()},          {"bytes_per_s", bytes_per_s}};
    print_json(line);
  } else {
    print("{}: {}, {}, {} ({:.2f} bytes per token), {}/s\n", arguments.out, counted(stats.documents, "document"),
          counted(stats.tokens, "token"), counted(stats.text_bytes, "byte"),
          static_cast<double>(stats.text_bytes) / static_cast<double>(stats.tokens), short_bytes(bytes_per_s));
  }
}

}  // namespace

void add_encode(CLI::App& app) {
  auto* command = app.add_subcommand("encode", "Turn text into token shards for training and evaluation");
  auto arguments = std::make_shared<EncodeArguments>();
  command
      ->add_option("INPUT", arguments->inputs,
                   "files (.txt, .jsonl, either .zst or .gz), folders, or - for standard input")
      ->required()
      ->type_name("FILE|DIR|-");
  command->add_option("--tokenizer", arguments->tokenizer, "tokenizer.json, tokenizer.model or a folder with one")
      ->required()
      ->type_name("PATH");
  command->add_option("--out", arguments->out, "folder to write, new or empty; its name names the shards")
      ->required()
      ->type_name("DIR");
  add_text_options(*command, arguments->options.text);
  command->add_option("--shard-tokens", arguments->options.shard_tokens, "start a new shard after this many tokens")
      ->transform(positive_count(int64_t{1} << 40));
  command->add_flag("--json", arguments->json, "print one JSON line");
  command->callback([arguments] { run(*arguments); });
}

}  // namespace troupe::cli
