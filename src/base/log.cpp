#include "base/log.h"

#include <fcntl.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <mutex>
#include <string>

#include "base/error.h"
#include "base/log_file.h"
#include "base/log_prefix.h"
#include "base/log_settings.h"
#include "base/log_status.h"
#include "base/machine.h"
#include "base/utf8.h"

namespace troupe::log {
namespace {

spdlog::logger& logger() {
  static const std::shared_ptr<spdlog::logger> instance = [] {
    auto made = spdlog::stderr_logger_mt("troupe");
    made->set_pattern("%v");
    return made;
  }();
  return *instance;
}

bool quiet = false, colored = false;
thread_local std::string prefix;
thread_local bool warnings_only = false;

// The status line, and who may write to the terminal.
struct Status {
  std::recursive_mutex mutex;
  std::string line;
};
Status& status() {
  static auto* const one = new Status;  // outlives every static object that logs
  return *one;
}

void draw(std::string_view line) {
  std::fprintf(stderr, "\r\033[K%.*s", static_cast<int>(line.size()), line.data());
  std::fflush(stderr);
}

void say(spdlog::level::level_enum level, const std::string& line) {
  const StatusAside aside;
  logger().log(level, line);
}

// What log::File stands for, and the lines that wait for one.
struct Kept {
  std::mutex mutex;
  int fd = -1;
  bool lost = false;  // a line could not be written
  std::string path;
  std::deque<std::string> waiting;
};
Kept& kept() {
  static Kept instance;
  return instance;
}

// With the mutex held; returns what is to be said of a file that takes no more.
std::string append(Kept& file, const std::string& line) {
  if (::write(file.fd, line.data(), line.size()) == static_cast<ssize_t>(line.size()) || file.lost) return {};
  file.lost = true;
  return fmt::format("warning: {}: expected to write to it, got: {} (lines are missing there)", file.path,
                     std::strerror(errno));
}

void keep(std::string_view text) {
  constexpr size_t kMostWaiting = 100;
  Kept& file = kept();
  std::string line = fmt::format("{}  {}\n", utc_time(), text), problem;
  {
    const std::lock_guard lock(file.mutex);
    if (file.fd >= 0) {
      problem = append(file, line);
    } else {
      file.waiting.push_back(std::move(line));
      if (file.waiting.size() > kMostWaiting) file.waiting.pop_front();
    }
  }
  if (!problem.empty()) say(spdlog::level::warn, problem);
}

}  // namespace

void set_quiet(bool value) { quiet = value; }
bool is_quiet() { return quiet; }
void set_color(bool value) { colored = value; }

Prefix::Prefix(std::string label) : before_(prefix) { prefix += label + ": "; }
Prefix::~Prefix() { prefix = before_; }

WarningsOnly::WarningsOnly() : before_(warnings_only) { warnings_only = true; }
WarningsOnly::~WarningsOnly() { warnings_only = before_; }

void write(Level level, std::string_view raw) {
  const std::string text = visible_text(prefix + std::string(raw));
  switch (level) {
    case Level::kInfo:
      if (!quiet && !warnings_only) say(spdlog::level::info, text);
      return keep(text);
    case Level::kWarning:
      say(spdlog::level::warn, (colored ? "\x1b[1m\x1b[33mwarning:\x1b[0m " : "warning: ") + text);
      return keep("warning: " + text);
    case Level::kError:
      say(spdlog::level::err, "error: " + text);
      return keep("error: " + text);
  }
}

void set_status(std::string_view line) {
  Status& now = status();
  const std::lock_guard lock(now.mutex);
  if (line.empty() && now.line.empty()) return;
  now.line = line;
  draw(now.line);
}

StatusAside::StatusAside() {
  status().mutex.lock();
  if (!status().line.empty()) draw("");
}
StatusAside::~StatusAside() {
  if (!status().line.empty()) draw(status().line);
  status().mutex.unlock();
}

bool topic_enabled(std::string_view topic) {
  static const std::string topics = [] {
    const char* value = std::getenv("TROUPE_LOG");
    return "," + std::string(value ? value : "") + ",";
  }();
  return topics.find("," + std::string(topic) + ",") != std::string::npos;
}

File::File(const std::filesystem::path& path) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (fd < 0) fail(ErrorCode::kEnvironment, "{}: expected to open it, got: {}", path.string(), std::strerror(errno));
  Kept& file = kept();
  const std::lock_guard lock(file.mutex);
  file.fd = fd;
  file.lost = false;
  file.path = path.string();
  for (const std::string& line : file.waiting) append(file, line);
  file.waiting.clear();
}

File::~File() {
  Kept& file = kept();
  const std::lock_guard lock(file.mutex);
  ::close(file.fd);
  file.fd = -1;
}

void write_to_file(std::string_view line) {
  Kept& file = kept();
  bool open = false;
  {
    const std::lock_guard lock(file.mutex);
    open = file.fd >= 0;
  }
  if (open) keep(visible_text(line));
}

}  // namespace troupe::log
