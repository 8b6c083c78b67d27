// troupe: parses the command line, runs one subcommand, and maps failures to exit codes (docs/cli.md).
#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <new>

#include "base/log.h"
#include "base/nearest.h"
#include "base/placement.h"
#include "cli/command.h"
#include "troupe/error.h"

namespace {

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
      if (std::find(names.begin(), names.end(), flag) == names.end())
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

}  // namespace

int main(int argc, char** argv) {
  troupe::place_process(argv);
  std::signal(SIGPIPE, SIG_DFL);  // a closed pipe ends quietly
  CLI::App app{"Train, evaluate and use dense and Mixture-of-Experts language models on CPUs.", "troupe"};
  app.set_version_flag("--version", TROUPE_VERSION);
  app.require_subcommand(1);
  app.get_formatter()->column_width(36);
  app.option_defaults()->always_capture_default();
  try {
#define TROUPE_COMMAND(name) troupe::cli::add_##name(app);
#include "cli/commands.inc"
#undef TROUPE_COMMAND
    app.parse(argc, argv);
    std::fflush(stdout);
    return 0;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    std::fprintf(stderr, "error: %s%s\nRun 'troupe --help' or 'troupe COMMAND --help' for usage.\n", error.what(),
                 hint(app, argc, argv).c_str());
    return static_cast<int>(troupe::ErrorCode::kUsage);
  } catch (const troupe::Error& error) {
    std::fflush(stdout);
    std::fprintf(stderr, "error: %s\n", error.what());
    return static_cast<int>(error.code());
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "error: out of memory\n");
    return static_cast<int>(troupe::ErrorCode::kEnvironment);
  } catch (const std::filesystem::filesystem_error& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return static_cast<int>(troupe::ErrorCode::kEnvironment);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: internal: %s\n", error.what());
    return static_cast<int>(troupe::ErrorCode::kInternal);
  }
}
