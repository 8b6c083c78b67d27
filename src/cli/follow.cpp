// troupe follow: watch a run that another process trains.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <fstream>
#include <memory>
#include <thread>

#include "base/error.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/validators.h"
#include "io/lock_holder.h"
#include "train/run_folder.h"

namespace troupe::cli {
namespace {

namespace fs = std::filesystem;

struct FollowFlags {
  std::string run;
  int64_t lines = 20;
  bool json = false;
};

// Whole lines that came to a file since the last call. A file that was written anew (metrics.jsonl, when a run goes on
// from an older checkpoint) goes on where it is shorter.
class Tail {
 public:
  explicit Tail(fs::path path) : path_(std::move(path)) {}

  std::string read() {
    std::error_code error;
    const auto size = static_cast<std::streamoff>(fs::file_size(path_, error));
    if (error) return {};
    at_ = std::min(at_, size);
    std::ifstream file(path_, std::ios::binary);
    file.seekg(at_);
    std::string text(static_cast<size_t>(size - at_), '\0');
    file.read(text.data(), size - at_);
    text.resize(static_cast<size_t>(std::max<std::streamsize>(0, file.gcount())));
    text.resize(text.rfind('\n') + 1);  // npos + 1 is 0
    at_ += static_cast<std::streamoff>(text.size());
    return text;
  }

 private:
  fs::path path_;
  std::streamoff at_ = 0;
};

std::string last_lines(const std::string& text, int64_t count) {
  size_t begin = text.size();
  for (; count > 0 && begin > 0; --count) {
    const size_t newline = begin < 2 ? text.npos : text.rfind('\n', begin - 2);
    begin = newline == text.npos ? 0 : newline + 1;
  }
  return text.substr(begin);
}

void run(const FollowFlags& flags) {
  const RunFiles files{flags.run};
  const RunHistory history(flags.run);
  const fs::path& watched = flags.json ? files.metrics() : files.log();
  const auto writer = [&] { return lock_holder(files.folder, WriterLock::Place::kInside); };
  if (!history.has_started() && !writer())
    fail(ErrorCode::kData, "{}: expected the folder of a run, got {}", flags.run,
         fs::exists(files.folder) ? "one without a history.jsonl that tells of a start" : "nothing of this name");
  Tail tail(watched);
  print_bytes(last_lines(tail.read(), flags.lines));
  for (int64_t quiet = 0;;) {
    // Asked before the last lines are read, so that none that came in between is missed.
    std::string end = history.end();
    if (!end.empty() && writer()) end.clear();  // it is about to go on, or to end
    const bool killed = end.empty() && ++quiet % 8 == 0 && !writer() && history.end().empty();
    const std::string text = tail.read();
    print_bytes(text);
    if (!text.empty()) quiet = 0;
    if (end == "complete") return;
    if (!end.empty() || killed) {
      flush_output();
      fail(ErrorCode::kNo, "{}: expected a run that completes, got one that {} after step {}", flags.run,
           killed ? "was killed" : end == "failed" ? "failed" : "was interrupted", history.last_step());
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(250));
  }
}

}  // namespace

void add_follow(CLI::App& app) {
  auto* const command = app.add_subcommand("follow", "Watch a run from another terminal until it ends");
  const auto flags = std::make_shared<FollowFlags>();
  command->add_option("run", flags->run, "Run folder of `troupe train`")->required()->type_name("RUN");
  command->add_option("--lines", flags->lines, "How many of the lines that are there already to show first")
      ->transform(count());
  command->add_flag("--json", flags->json, "Lines of metrics.jsonl instead of the log");
  command->callback([flags] { run(*flags); });
}

}  // namespace troupe::cli
