// troupe corpus list | build NAME | build paper --from DIR | build --domain NAME=PATH... | stats PATH...
#include <CLI/CLI.hpp>
#include <cstdlib>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/text_options.h"
#include "cli/validators.h"
#include "data/corpus/build.h"
#include "data/corpus/manifest.h"
#include "data/corpus/own_text.h"
#include "data/corpus/released/paper.h"
#include "data/corpus/released/sets.h"
#include "io/named_path.h"
#include "io/unfinished.h"

namespace troupe::cli {
namespace {

using Json = nlohmann::ordered_json;

std::filesystem::path default_cache() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache && *cache)
    return std::filesystem::path(cache) / "troupe/packages";
  if (const char* home = std::getenv("HOME"); home && *home)
    return std::filesystem::path(home) / ".cache/troupe/packages";
  return "corpus/packages";
}

void list(bool json) {
  std::vector<std::vector<std::string>> rows = {{"corpus", "split", "domain", "package"}};
  for (const corpus::Corpus& corpus : corpus::corpora()) {
    for (const corpus::Source& source : corpus.sources) {
      if (json)
        print_json({{"schema", "troupe.corpus.source/1"},
                    {"corpus", corpus.name},
                    {"split", name_of_enum(source.side)},
                    {"domain", source.domain},
                    {"package", source.package},
                    {"parser", source.parser}});
      rows.push_back({std::string(corpus.name), std::string(name_of_enum(source.side)), std::string(source.domain),
                      std::string(source.package)});
    }
  }
  if (json) return;
  for (const corpus::Corpus& corpus : corpus::corpora()) print("{}: {}\n", corpus.name, corpus.summary);
  print("{}: the sets of Artetxe et al. (2021) that you have, read where they are (--from DIR):\n",
        corpus::kPaperCorpus);
  for (const corpus::ReleasedSet& set : corpus::released_sets())
    print("  {}: {} ({})\n", set.title, set.names, set.forms);
  print("\n");
  print_table(rows);
}

void print_parts(const std::string& name, const corpus::BuildResult& result, bool json) {
  std::vector<std::vector<std::string>> rows = {{"domain", "split", "documents", "bytes", "file"}};
  for (const corpus::CorpusPart& part : result.parts) {
    rows.push_back({part.domain, std::string(name_of_enum(part.split)), grouped(part.documents), grouped(part.bytes),
                    part.file.string()});
    if (json)
      print_json({{"schema", "troupe.corpus.part/1"},
                  {"corpus", name},
                  {"split", name_of_enum(part.split)},
                  {"domain", part.domain},
                  {"documents", part.documents},
                  {"bytes", part.bytes},
                  {"file", part.file.string()}});
  }
  if (!json) print_table(rows);
}

void build(const std::string& name, corpus::BuildOptions options, bool json) {
  const RemoveOnInterrupt remove_on_interrupt;
  const corpus::Corpus corpus = corpus::find_corpus(name);
  if (options.out.empty()) options.out = std::filesystem::path("corpus") / name;
  const auto start = Clock::now();
  const corpus::BuildResult result = corpus::build_corpus(corpus, options);
  const double seconds = seconds_since(start);
  if (result.already_complete)
    log::info("corpus: {} is complete, nothing to do (--force builds it again)", options.out.string());
  else
    log::info("corpus: {} is complete after {:.1f} s; {} has packages, checksums and removals", options.out.string(),
              seconds, result.manifest.string());
  print_parts(name, result, json);
}

void build_own(const std::vector<std::string>& domains, const std::vector<std::string>& held_out,
               corpus::OwnTextOptions options, bool json) {
  const RemoveOnInterrupt remove_on_interrupt;
  const auto add = [&](const std::vector<std::string>& texts, const char* flag, corpus::Split side) {
    for (const std::string& text : texts) {
      const NamedPath named = parse_named_path(text, flag);
      if (!named.given) fail(ErrorCode::kUsage, "{}: expected NAME=PATH, got \"{}\"", flag, text);
      options.domains.push_back({named.name, named.path, side});
    }
  };
  add(domains, "--domain", corpus::Split::kTrain);
  add(held_out, "--held-out", corpus::Split::kHeldOut);
  if (options.out.empty()) fail(ErrorCode::kUsage, "--out: expected a folder for the corpus, got none");
  const corpus::BuildResult result = corpus::build_own_text(options);
  log::info("corpus: {} is complete; {} has what was left out and why", options.out.string(), result.manifest.string());
  print_parts(corpus::kOwnText, result, json);
}

void build_paper(corpus::PaperOptions options, bool json) {
  const RemoveOnInterrupt remove_on_interrupt;
  if (options.out.empty()) options.out = std::filesystem::path("corpus") / corpus::kPaperCorpus;
  const corpus::BuildResult result = corpus::build_paper(options);
  log::info("corpus: {} is complete; {} has what was read", options.out.string(), result.manifest.string());
  print_parts(corpus::kPaperCorpus, result, json);
}

void stats(const std::vector<std::string>& inputs, const TextOptions& options, bool json) {
  int64_t longest = 0;
  const TextStats stats = for_each_document(inputs, options, [&](Document&& document) {
    longest = std::max(longest, static_cast<int64_t>(document.text.size()));
  });
  if (!json) {
    print("{}\n  longest document: {} bytes\n", stats.report(), longest);
    return;
  }
  Json line{{"schema", "troupe.corpus.stats/1"},
            {"documents", stats.documents},
            {"bytes", stats.bytes},
            {"longest", longest},
            {"files", stats.files},
            {"skipped", stats.total_skipped()}};
  for (const auto& [name, reason] : EnumNames<SkipReason>::values)
    if (const TextStats::Skip& skip = stats.skip(reason); skip.count)
      line["skips"][std::string(name)] = Json{{"count", skip.count}, {"first", skip.first}};
  for (const auto& [key, skip] : {std::pair("ignored_files", &stats.ignored_files),
                                  {"dangling_links", &stats.dangling_links},
                                  {"repeated_links", &stats.repeated_links},
                                  {"repeated_files", &stats.repeated_files},
                                  {"nul_documents", &stats.nul_documents}})
    line[key] = skip->count;
  line["crlf_files"] = stats.crlf_files;
  line["byte_order_mark_files"] = stats.byte_order_mark_files;
  print_json(line);
}

}  // namespace

void add_corpus(CLI::App& app) {
  CLI::App* command = app.add_subcommand("corpus", "build text corpora from Debian packages or your own text");
  command->require_subcommand(1);
  static bool json = false;
  static std::string name;
  static corpus::BuildOptions options;
  static std::vector<std::string> inputs;
  static TextOptions text;
  static std::string out, cache = default_cache().string(), packages_dir;
  const auto add_json = [](CLI::App* sub) {
    sub->add_flag("--json", json, "one JSON object a line on standard output");
  };

  CLI::App* list_command = command->add_subcommand("list", "the corpora that can be built, and their sources");
  add_json(list_command);
  list_command->callback([] { list(json); });

  CLI::App* build_command = command->add_subcommand(
      "build", "clean, deduplicate and split a corpus: of Debian packages (NAME) or of your own text (--domain)");
  static std::vector<std::string> domains, held_out;
  static corpus::OwnTextOptions own;
  CLI::Option* name_option =
      build_command->add_option("NAME", name, "a corpus of packages; `troupe corpus list` has the names")
          ->type_name("CORPUS");
  build_command->add_option("--out", out, "folder of the result (default with NAME: corpus/NAME)")->type_name("DIR");
  CLI::Option* cache_option =
      build_command->add_option("--cache", cache, "packages: folder where downloads are kept")->type_name("DIR");
  CLI::Option* packages_option =
      build_command
          ->add_option("--packages-dir", packages_dir, "packages: folder with the .deb files; nothing is downloaded")
          ->type_name("DIR");
  build_command->add_flag("--force", options.force, "build again even if the corpus is there");
  add_json(build_command);
  CLI::Option* domain_option =
      build_command
          ->add_option(
              "--domain", domains,
              "own text for training and validation: .txt, .jsonl (each also .zst or .gz), a folder, or - (repeat)")
          ->type_name("NAME=PATH")
          ->allow_extra_args(false);
  domain_option->excludes(name_option)->excludes(cache_option)->excludes(packages_option);
  build_command->add_option("--held-out", held_out, "own text that training must not see, a domain by itself (repeat)")
      ->type_name("NAME=PATH")
      ->allow_extra_args(false)
      ->needs(domain_option);
  static CLI::Option* share_option =
      build_command
          ->add_option(
              "--valid-share", own.rules.valid_share,
              "share of the documents of each --domain for validation, chosen by a hash of their text; of paper "
              "by default 0.000331, its 150 MB of 453 GB")
          ->transform(positive_number(0.9));
  static std::string from;
  static corpus::PaperOptions paper;
  CLI::Option* from_option =
      build_command
          ->add_option("--from", from, "paper: folder with the sets as they are released; absent ones are named")
          ->type_name("DIR")
          ->excludes(domain_option)
          ->excludes(cache_option)
          ->excludes(packages_option);
  build_command
      ->add_option("--take", paper.take_bytes,
                   "paper: bytes of text in all, each set its share in the paper, from its start (0: everything)")
      ->transform(count(std::numeric_limits<int64_t>::max()))
      ->type_name("BYTES")
      ->needs(from_option);
  add_text_options(*build_command, own.text);
  for (CLI::Option* option : build_command->get_options())
    if (option->get_group() == "Text") option->needs(domain_option);
  build_command->callback([] {
    if (!domains.empty()) {
      own.out = out;
      own.force = options.force;
      build_own(domains, held_out, own, json);
      return;
    }
    const bool is_paper = name == corpus::kPaperCorpus;
    if (is_paper != !from.empty())
      fail(ErrorCode::kUsage, "--from: expected the folder with the sets of paper, which nothing else takes, got {}",
           is_paper ? "none" : from);
    if (is_paper) {
      paper.out = out;
      paper.from = from;
      paper.force = options.force;
      if (share_option->count() > 0) paper.valid_share = own.rules.valid_share;
      build_paper(paper, json);
      return;
    }
    if (share_option->count() > 0) fail(ErrorCode::kUsage, "--valid-share: requires --domain or paper");
    if (name.empty())
      fail(ErrorCode::kUsage, "corpus build: expected NAME (`troupe corpus list`) or --domain NAME=PATH, got neither");
    options.out = out;
    options.cache = cache;
    options.packages_dir = packages_dir;
    build(name, options, json);
  });

  CLI::App* stats_command =
      command->add_subcommand("stats", "read text as training would and report documents, bytes and damage");
  stats_command->add_option("PATH", inputs, ".txt, .jsonl (each also .zst or .gz), folders, or - for standard input")
      ->required()
      ->type_name("FILE|DIR|-");
  add_text_options(*stats_command, text);
  add_json(stats_command);
  stats_command->callback([] { stats(inputs, text, json); });
}

}  // namespace troupe::cli
