// troupe: parses the command line, runs one subcommand, and maps failures to exit codes (docs/cli.md).
#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <exception>
#include <new>
#include <sstream>
#include <string>
#include <system_error>
#include <vector>

#include "base/error.h"
#include "base/nearest.h"
#include "base/placement.h"
#include "cli/color.h"
#include "cli/command.h"
#include "cli/commit.h"
#include "cli/common_flags.h"
#include "cli/help_format.h"
#include "cli/output.h"
#include "cli/ranks.h"
#include "cli/standard_streams.h"
#include "dist/mpi.h"
#include "io/fields.h"
#include "io/provenance.h"
#include "kernels/cuda/cutlass.h"
#include "study/study_config.h"
#include "train/run_config.h"

namespace {

// The configuration key that somebody means who writes it as a flag of a command with --set: "train.steps" for --steps;
// "" if there is none.
std::string key_of_flag(const CLI::App& command, std::string flag) {
  if (!command.get_option_no_throw("--set")) return {};
  flag.erase(0, 2);
  std::replace(flag.begin(), flag.end(), '-', '_');
  const auto find = [&](const auto& config) {
    const troupe::FieldList fields = troupe::fields_of(config);
    for (const troupe::Field& field : fields.fields())
      if (troupe::key_of(field) == flag) return field.path;
    return std::string();
  };
  if (command.get_name() == "study") return find(troupe::StudyFile());
  return command.get_name() == "finetune" ? find(troupe::finetune_keys()) : find(troupe::RunConfig());
}

// CLI11 reports a mistyped name as "The following argument was not expected: x"; add the nearest valid one.
std::string hint(const CLI::App& app, int argc, char** argv) {
  const CLI::App* scope = &app;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word.rfind("--", 0) == 0) {
      std::vector<std::string> names;
      for (const CLI::Option* option : scope->get_options())
        for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
      const std::string flag = word.substr(0, word.find('='));
      if (std::find(names.begin(), names.end(), flag) != names.end()) continue;
      if (const std::string key = key_of_flag(*scope, flag); !key.empty())
        return " (did you mean --set " + key + "=...?)";
      return " (did you mean " + troupe::nearest(flag, names) + "?)";
    } else if (!scope->get_subcommands([](const CLI::App*) { return true; }).empty()) {
      std::vector<std::string> names;
      const CLI::App* next = nullptr;
      for (const CLI::App* sub : scope->get_subcommands([](const CLI::App*) { return true; })) {
        names.push_back(sub->get_name());
        if (sub->get_name() == word) next = sub;
      }
      if (!next) return " (did you mean " + troupe::nearest(word, names) + "?)";
      scope = next;
    }
  }
  return {};
}

// `troupe help COMMAND` is `troupe COMMAND --help`. CLI11 takes the words last one first.
std::vector<std::string> words_of(int argc, char** argv) {
  std::vector<std::string> words(argv + 1, argv + argc);
  if (!words.empty() && words.front() == "help") {
    words.erase(words.begin());
    words.emplace_back("--help");
  }
  std::reverse(words.begin(), words.end());
  return words;
}

void run(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(words_of(argc, argv));
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() != 0)
      troupe::fail(troupe::ErrorCode::kUsage, "{}{}\nRun 'troupe --help' or 'troupe COMMAND --help' for usage.",
                   error.what(), hint(app, argc, argv));
    std::ostringstream text;  // what --help or --version asked for
    app.exit(error, text, text);
    troupe::cli::print_bytes(text.str());
  }
  troupe::cli::flush_output();
}

int report(const std::string& message, troupe::ErrorCode code) {
  std::fflush(stdout);
  troupe::cli::print_error(message);
  return static_cast<int>(code);
}

}  // namespace

int main(int argc, char** argv) {
  troupe::cli::open_closed_streams();
  troupe::place_process(argv);
  troupe::set_program(TROUPE_VERSION, troupe::cli::kCommit);
  std::signal(SIGPIPE, SIG_DFL);  // a reader that went away ends the program quietly
  std::signal(SIGXFSZ, SIG_IGN);  // a file at its limit is an error of the write, which says so
  CLI::App app{"Train, evaluate and use dense and Mixture-of-Experts language models on CPUs and a GPU.", "troupe"};
  const std::string cutlass = troupe::cuda::cutlass_version();
  app.set_version_flag("-V,--version", fmt::format("{}\nMPI: {}\nCUTLASS: {}", troupe::program_version(),
                                                   troupe::mpi_version(), cutlass.empty() ? "not built" : cutlass));
  app.require_subcommand(1);
  app.formatter(std::make_shared<troupe::cli::HelpFormat>());
  app.get_formatter()->column_width(36);
  app.option_defaults()->always_capture_default();
  try {
#define TROUPE_COMMAND(name) troupe::cli::add_##name(app);
#include "cli/commands.inc"
#undef TROUPE_COMMAND
    troupe::cli::add_common_flags(app);
    run(app, argc, argv);
    return 0;
  } catch (const troupe::cli::Quietly& end) {
    return end.exit_code;
  } catch (const troupe::Error& error) {
    return report(error.what(), error.code());
  } catch (const std::bad_alloc&) {
    return report("out of memory", troupe::ErrorCode::kEnvironment);
  } catch (const std::system_error& error) {  // files, and fmt::print
    const bool lost = std::ferror(stdout);
    return report(lost ? "standard output: expected to write results, got: " + error.code().message() : error.what(),
                  troupe::ErrorCode::kEnvironment);
  } catch (const std::exception& error) {
    return report(std::string("internal: ") + error.what(), troupe::ErrorCode::kInternal);
  }
}
