#include "base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdlib>
#include <string>

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

}  // namespace

void write(Level level, std::string_view raw) {
  const std::string text = visible_text(raw);
  switch (level) {
    case Level::kInfo:
      logger().info(text);
      break;
    case Level::kWarning:
      logger().warn("warning: {}", text);
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
