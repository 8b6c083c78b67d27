// troupe tokenizer train | encode | decode
#include "data/tokenizer/tokenizer.h"

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/quantity.h"
#include "base/threads.h"
#include "base/utf8.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/standard_streams.h"
#include "cli/text_options.h"
#include "cli/validators.h"
#include "data/text/reader.h"
#include "data/tokenizer/bpe_trainer.h"
#include "data/tokenizer/definition.h"
#include "io/json_fields.h"
#include "io/json_file.h"
#include "io/json_text.h"
#include "io/unfinished.h"
#include "io/writable.h"

namespace troupe::cli {
namespace {

using Json = nlohmann::ordered_json;

// Calls use(value, where) for each line of standard input, blank ones apart.
template <class Use>
void for_each_json_line(const Use& use) {
  int64_t number = 0;
  for (std::string line; read_standard_input_line(line);) {
    const std::string where = fmt::format("standard input:{}", ++number);
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    use(parse_json(line, where), where);
  }
}

// A line of input: what is asked of it is under one key.
struct TextLine {
  std::string text;
  void fields(JsonFieldReader& v) { v("text", text); }
};
struct IdsLine {
  nlohmann::json ids;
  void fields(JsonFieldReader& v) { v("ids", ids); }
};

template <class Line>
Line line_of(const nlohmann::json& object, const std::string& where) {
  Line line;
  read_json_fields(object, where, line);
  return line;
}

std::vector<int32_t> ids_from_json(const nlohmann::json& array, const std::string& where) {
  if (!array.is_array())
    fail(ErrorCode::kData, "{}: ids: expected an array of integers, got {}", where, array.type_name());
  std::vector<int32_t> ids;
  for (const nlohmann::json& id : array) {
    if (!id.is_number_integer() || id < 0 || id > kMaxTokenId)
      fail(ErrorCode::kData, "{}: ids[{}]: expected an integer from 0 to {}, got {}", where, ids.size(), kMaxTokenId,
           json_excerpt(id));
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

// {"ids": [...]}, [...], or integers separated by white space.
std::vector<int32_t> ids_from_text(const std::string& text, const std::string& where) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first == text.npos) return {};
  if (text[first] == '{' || text[first] == '[') {
    const nlohmann::json value = parse_json(text, where);
    return ids_from_json(value.is_object() ? line_of<IdsLine>(value, where).ids : value, where);
  }
  nlohmann::json array = nlohmann::json::array();
  std::istringstream words(text);
  for (std::string word; words >> word;) array.push_back(nlohmann::json::parse(word, nullptr, false));
  for (size_t i = 0; i < array.size(); ++i)
    if (!array[i].is_number_integer())
      fail(ErrorCode::kData, "{}: expected integers separated by spaces, got something else as number {}", where,
           i + 1);
  return ids_from_json(array, where);
}

struct TrainFlags {
  BpeTrainerOptions options{.vocab_size = 4096};
  TextOptions text;
  std::vector<std::string> inputs;
  std::string out;
  bool json = false;
};

void run_train(const TrainFlags& flags) {
  const RemoveOnInterrupt remove_on_interrupt;
  const auto start = Clock::now();
  const std::filesystem::path file = std::filesystem::path(flags.out) / "tokenizer.json";
  check_writable(file);
  BpeTrainer trainer(flags.options);
  Progress reading("count words");
  const TextStats text_stats = for_each_document(flags.inputs, flags.text, [&](Document&& document) {
    trainer.add(document.text);
    reading.update(0, fmt::format("{}, {}", short_counted(static_cast<double>(trainer.stats().texts), "document"),
                                  short_bytes(static_cast<double>(trainer.stats().bytes))));
  });
  reading.clear();
  log::info("{}", text_stats.report());
  if (text_stats.documents == 0) fail(ErrorCode::kData, "tokenizer train: expected at least one document, got none");
  Progress merging("learn merges", static_cast<double>(flags.options.vocab_size));
  const Tokenizer tokenizer = trainer.finish([&](int64_t symbols) {
    if (symbols % 64 == 0) merging.update(static_cast<double>(symbols), fmt::format("{} tokens", symbols));
  });
  merging.clear();
  tokenizer.save(file.string());

  const BpeTrainer::Stats& stats = trainer.stats();
  const double seconds = seconds_since(start);
  if (tokenizer.vocab_size() < flags.options.vocab_size)
    log::warning("the text has too few repeated pairs: {} tokens instead of {} (more text, or --min-count 1)",
                 tokenizer.vocab_size(), flags.options.vocab_size);
  if (flags.json) {
    print_json({{"schema", "troupe.tokenizer.train/1"},
                {"path", file.string()},
                {"vocab_size", tokenizer.vocab_size()},
                {"documents", stats.texts},
                {"bytes", stats.bytes},
                {"words", stats.words},
                {"distinct_words", stats.distinct_words},
                {"skipped", text_stats.total_skipped()},
                {"threads", num_threads()},
                {"time_s", seconds}});
  } else {
    print("{}: {} tokens, from {}, {}, {} ({} distinct), in {:.1f} s on {}\n", file.string(), tokenizer.vocab_size(),
          counted(stats.texts, "document"), counted(stats.bytes, "byte"), counted(stats.words, "word"),
          stats.distinct_words, seconds, counted(num_threads(), "thread"));
  }
}

struct CodeFlags {
  std::string tokenizer;
  bool jsonl = false, json = false, as_text = false, bare = false, raw = false;
};

void print_ids(const std::vector<int32_t>& ids) {
  print_json({{"schema", "troupe.tokenizer.encode/1"}, {"ids", ids}});
}

void run_encode(const CodeFlags& flags) {
  const Tokenizer tokenizer = Tokenizer::load(flags.tokenizer);
  const auto added = flags.as_text ? Tokenizer::AddedTokens::kAsText : Tokenizer::AddedTokens::kMatch;
  const auto print_ids_of = [&](const std::string& text) {
    std::vector<int32_t> ids;
    if (!flags.bare) ids = tokenizer.prefix();
    tokenizer.encode(text, ids, added);
    if (!flags.bare) ids.insert(ids.end(), tokenizer.suffix().begin(), tokenizer.suffix().end());
    print_ids(ids);
  };
  if (!flags.jsonl) return print_ids_of(read_standard_input());
  for_each_json_line([&](const nlohmann::json& object, const std::string& where) {
    print_ids_of(line_of<TextLine>(object, where).text);
  });
}

// Invalid UTF-8 cannot be written in JSON: it shows as U+FFFD in `text`, and `bytes` has all of it in hexadecimal.
void print_text(const std::string& text, const CodeFlags& flags) {
  if (flags.raw) return print_bytes(text);
  Json object = {{"schema", "troupe.tokenizer.decode/1"}, {"text", text}};
  if (find_invalid_utf8(text)) {
    std::string hex;
    for (const char byte : text) hex += fmt::format("{:02x}", static_cast<uint8_t>(byte));
    object["bytes"] = hex;
  }
  print_json(object);
}

void run_decode(const CodeFlags& flags) {
  const Tokenizer tokenizer = Tokenizer::load(flags.tokenizer);
  const auto decode = [&](const std::vector<int32_t>& ids, const std::string& where) {
    try {
      return tokenizer.decode(ids);
    } catch (const Error& error) {
      fail(error.code(), "{}: {}", where, error.what());
    }
  };
  if (!flags.jsonl) {
    const std::string where = "standard input";
    return print_text(decode(ids_from_text(read_standard_input(), where), where), flags);
  }
  for_each_json_line([&](const nlohmann::json& object, const std::string& where) {
    print_text(decode(ids_from_json(line_of<IdsLine>(object, where).ids, where), where), flags);
  });
}

void add_train_command(CLI::App& parent) {
  auto* const command =
      parent.add_subcommand("train", "Train a byte-level BPE tokenizer on text; writes DIR/tokenizer.json");
  const auto flags = std::make_shared<TrainFlags>();
  command
      ->add_option("INPUT", flags->inputs, "files (.txt, .jsonl, either .zst or .gz), folders, or - for standard input")
      ->required()
      ->type_name("FILE|DIR|-");
  command
      ->add_option("--vocab-size", flags->options.vocab_size,
                   "Tokens in all: <|endoftext|> (id 0), the 256 bytes, then merges in the order learned")
      ->transform(whole_number(257, kMaxTokenId + int64_t{1}))
      ->type_name("N");
  command->add_option("--out", flags->out, "Folder for tokenizer.json")->required()->type_name("DIR");
  command->add_option("--min-count", flags->options.min_count, "Merge only pairs that occur at least this often")
      ->transform(positive_count())
      ->type_name("N");
  add_text_options(*command, flags->text);
  command->add_flag("--json", flags->json, "Print the summary as JSON");
  command->callback([flags] { run_train(*flags); });
}

CLI::App* add_code(CLI::App& parent, const char* name, const char* help, const std::shared_ptr<CodeFlags>& flags) {
  auto* const command = parent.add_subcommand(name, help);
  command
      ->add_option("--tokenizer", flags->tokenizer,
                   "A tokenizer.json or tokenizer.model, or a folder with one, or with GPT-2's encoder.json and "
                   "vocab.bpe; a .gguf file")
      ->required()
      ->type_name("PATH");
  command->add_flag("--json", flags->json, "No effect: the output is JSON lines anyway");
  return command;
}

}  // namespace

void add_tokenizer(CLI::App& app) {
  auto* const command = app.add_subcommand("tokenizer", "Train a tokenizer; turn text into token ids and back");
  command->require_subcommand(1);
  add_train_command(*command);

  const auto encode = std::make_shared<CodeFlags>();
  auto* const encode_command =
      add_code(*command, "encode", "Text on standard input to ids: prints {\"ids\": [...]} per input", encode);
  encode_command->add_flag("--jsonl", encode->jsonl, "Input is JSON lines with `text`, not one text");
  encode_command->add_flag("--added-as-text", encode->as_text,
                           "Read \"<|endoftext|>\" and other added tokens in the text as ordinary text");
  encode_command->add_flag("--bare", encode->bare,
                           "Leave out what the tokenizer puts around a text, such as <|begin_of_text|>");
  encode_command->callback([encode] { run_encode(*encode); });

  const auto decode = std::make_shared<CodeFlags>();
  auto* const decode_command = add_code(*command, "decode",
                                        "Ids on standard input to text: prints {\"text\": ...} per input, with `bytes` "
                                        "in hexadecimal if they are not UTF-8",
                                        decode);
  decode_command->add_flag("--jsonl", decode->jsonl, "Input is JSON lines with `ids`, not one list of ids");
  decode_command->add_flag("--raw", decode->raw, "Print the bytes themselves, nothing around them");
  decode_command->callback([decode] { run_decode(*decode); });
}

}  // namespace troupe::cli
