#include "base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdlib>
#include <string>

#include "base/log_settings.h"
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

}  // namespace

void set_quiet(bool value) { quiet = value; }
bool is_quiet() { return quiet; }
void set_color(bool value) { colored = value; }

void write(Level level, std::string_view raw) {
  const std::string text = visible_text(raw);
  switch (level) {
    case Level::kInfo:
      // What a library said by a callback ("moe: warning: ...") comes here too.
      if (!quiet || text.find("warning: ") != text.npos) logger().info(text);
      break;
    case Level::kWarning:
      logger().warn("{} {}", colored ? "\x1b[1m\x1b[33mwarning:\x1b[0m" : "warning:", text);
      break;
    case Level::kError:
      logger().error("error: {}", text);
      break;
  }
}

bool topic_enabled(std::string_view topic) {
  static const std::string topics = [] {
    const char* value = std::getenv("TROUPE_LOG");
    return "," + std::string(value ? value : "") + ",";
  }();
  return topics.find("," + std::string(topic) + ",") != std::string::npos;
}

}  // namespace troupe::log
