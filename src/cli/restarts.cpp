#include "cli/restarts.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "base/quantity.h"
#include "base/supervise.h"
#include "cli/ranks.h"
#include "cli/validators.h"
#include "dist/mpi.h"
#include "io/atomic_file.h"

namespace troupe::cli {
namespace {

constexpr const char* kRestarts = "--restarts";
constexpr const char* kLauncher = "--launch";
constexpr const char* kResume = "--resume";

// This process's words but for its own flags.
std::vector<std::string> own_words() {
  const std::string all = read_file("/proc/self/cmdline");  // words that end with a zero
  std::vector<std::string> words;
  for (size_t begin = 0, end; (end = all.find('\0', begin)) != all.npos; begin = end + 1)
    words.push_back(all.substr(begin, end - begin));
  std::vector<std::string> kept = {std::filesystem::read_symlink("/proc/self/exe").string()};
  for (size_t i = 1; i < words.size(); ++i) {
    const std::string flag = words[i].substr(0, words[i].find('='));
    if (flag != kRestarts && flag != kLauncher)
      kept.push_back(words[i]);
    else if (flag == words[i])
      ++i;  // its value
  }
  return kept;
}

// Whether the same would happen again, or somebody wanted it.
bool stays(int status) {
  for (const ErrorCode code : {ErrorCode::kUsage, ErrorCode::kData, ErrorCode::kNonFinite, ErrorCode::kInterrupted})
    if (status == static_cast<int>(code)) return true;
  return status == 0;
}

std::string text_of(int status) {
  const char* const signal = status > 128 ? sigabbrev_np(status - 128) : nullptr;
  return signal ? fmt::format("status {} (SIG{})", status, signal) : fmt::format("status {}", status);
}

}  // namespace

void add_restart_flags(CLI::App& command, RestartFlags& flags) {
  command
      .add_option(kRestarts, flags.restarts,
                  "when the run dies (a rank that is killed or hangs, a machine that is lost) go on from its newest "
                  "checkpoint by itself, at most N times")
      ->type_name("N")
      ->transform(count(1000000));
  command
      .add_option(kLauncher, flags.launcher, "start the run by this command and wait for it: \"mpirun -n 4\", \"srun\"")
      ->type_name("COMMAND");
}

void run_with_restarts(const RestartFlags& flags, std::string_view command) {
  if (const int ranks = launched_ranks(); ranks > 1)
    fail(ErrorCode::kUsage,
         "{}: expected one process that starts the ranks, got {} started together (troupe {} {} N {} \"mpirun -n {}\" "
         "...)",
         flags.launcher.empty() ? kRestarts : kLauncher, ranks, command, kRestarts, kLauncher, ranks);
  std::vector<std::string> words = CLI::detail::split_up(flags.launcher);
  for (std::string& word : words) CLI::detail::remove_quotes(word);
  for (std::string& word : own_words()) words.push_back(std::move(word));
  for (int done = 0;; ++done) {
    const Supervised run = supervise(words);
    if (stays(run.status) || run.asked) throw Quietly{run.status};
    if (done == flags.restarts)
      fail(ErrorCode::kEnvironment,
           "{}: expected a run that ends, got one that died with {}{}; --resume goes on with it", command,
           text_of(run.status), done > 0 ? fmt::format(" after {}", counted(done, "restart")) : "");
    log::warning("the run died with {}; restart {} of {}, from its newest checkpoint", text_of(run.status), done + 1,
                 flags.restarts);
    if (std::find(words.begin(), words.end(), kResume) == words.end()) words.emplace_back(kResume);
    std::this_thread::sleep_for(std::chrono::seconds(1));  // until all that belonged to it has ended
  }
}

}  // namespace troupe::cli
