#include "train/run_history.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/machine.h"
#include "io/atomic_file.h"
#include "io/json_text.h"
#include "io/provenance.h"

namespace troupe {

using nlohmann::ordered_json;

void RunHistory::append(std::string_view event, int64_t step, const ordered_json& more) const {
  ordered_json line = {{"schema", "troupe.history/1"}, {"event", event}, {"step", step}, {"date", utc_time()}};
  line.update(more);
  std::string text = json_text(line) + "\n";
  const int fd = ::open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  const auto refuse = [&](const char* what) {
    const int reason = errno;
    if (fd >= 0) ::close(fd);
    fail(ErrorCode::kEnvironment, "{}: expected to {} it, got: {}", path_.string(), what, std::strerror(reason));
  };
  if (fd < 0) refuse("open");
  // A process that was killed while it wrote, or a full disk, may have left half a line.
  char last = '\n';
  const off_t size = ::lseek(fd, 0, SEEK_END);
  if (size > 0 && ::pread(fd, &last, 1, size - 1) == 1 && last != '\n') text.insert(0, "\n");
  if (::write(fd, text.data(), text.size()) != static_cast<ssize_t>(text.size())) refuse("write to");
  ::close(fd);
}

void RunHistory::for_each(
    const std::function<void(const std::string& event, int64_t step, const nlohmann::json& line)>& f) const {
  if (!std::filesystem::exists(path_)) return;
  const std::string text = read_file(path_);
  for (size_t begin = 0, end; (end = text.find('\n', begin)) != text.npos; begin = end + 1) {
    const auto line = nlohmann::json::parse(text.begin() + static_cast<int64_t>(begin),
                                            text.begin() + static_cast<int64_t>(end), nullptr, false);
    if (!line.is_object() || !line.contains("event") || !line.contains("step")) continue;
    if (line["event"].is_string() && line["step"].is_number_integer())
      f(line["event"].get<std::string>(), line["step"].get<int64_t>(), line);
  }
}

bool RunHistory::has_started() const {
  bool started = false;
  for_each([&](const std::string& event, int64_t, const nlohmann::json&) { started |= event == "start"; });
  return started;
}

int64_t RunHistory::last_checkpoint() const {
  int64_t last = 0;
  for_each([&](const std::string& event, int64_t step, const nlohmann::json&) {
    if (event == "checkpoint") last = step;
  });
  return last;
}

std::string RunHistory::end() const {
  std::string end;
  for_each([&](const std::string& event, int64_t, const nlohmann::json&) {
    end = event == "complete" || event == "interrupted" || event == "failed" ? event : std::string();
  });
  return end;
}

bool RunHistory::has_diverged() const {
  bool diverged = false;
  for_each([&](const std::string& event, int64_t, const nlohmann::json& line) {
    diverged = event == "failed" && line.value("exit_code", nlohmann::json()) == static_cast<int>(ErrorCode::kNonFinite);
  });
  return diverged;
}

int64_t RunHistory::last_step() const {
  int64_t last = 0;
  for_each([&](const std::string&, int64_t step, const nlohmann::json&) { last = step; });
  return last;
}

std::vector<std::string> RunHistory::computed_by() const {
  std::vector<std::string> lines;
  for_each([&](const std::string& event, int64_t step, const nlohmann::json& line) {
    if (event == "start" || event == "resume")
      lines.push_back(
          fmt::format("from step {}: {}", step, describe_provenance(line.value("provenance", nlohmann::json()))));
  });
  return lines;
}

}  // namespace troupe
