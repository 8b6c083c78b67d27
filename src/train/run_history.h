// RUN/history.jsonl: when a run was started, resumed, saved and ended, and by what (docs/training.md lists the fields).
// Lines are only ever added: a run that goes on elsewhere keeps what is known of its first part.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace troupe {

class RunHistory {
 public:
  explicit RunHistory(const std::filesystem::path& run) : path_(run / "history.jsonl") {}

  const std::filesystem::path& path() const { return path_; }
  // "troupe.history/1": event, step, date, and what `more` adds. Throws kEnvironment if it cannot be written.
  void append(std::string_view event, int64_t step, const nlohmann::ordered_json& more) const;
  // Whether it tells of a start.
  bool has_started() const;
  // Step of the last checkpoint that it knows of; 0 if there was none or there is no history.
  int64_t last_checkpoint() const;
  // How the run ended since its last start or resume: "complete", "interrupted", "failed"; empty while it goes on, or
  // was killed.
  std::string end() const;
  // Whether it failed as loss or weights were not finite: then the same settings come to the same again.
  bool has_diverged() const;
  int64_t last_step() const;  // that it knows of
  // One line for people per start and resume: "from step 400: troupe 0.1.0 (...), avx2, fp32, ...". Empty without a
  // history, which runs of older versions lack.
  std::vector<std::string> computed_by() const;

 private:
  // Lines that are no event (half of one, after a crash) are passed over.
  void for_each(const std::function<void(const std::string& event, int64_t step, const nlohmann::json& line)>& f) const;

  std::filesystem::path path_;
};

}  // namespace troupe
