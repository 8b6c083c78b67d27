#include "cli/color.h"

#include <fmt/color.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "base/utf8.h"

namespace troupe::cli {
namespace {

ColorWhen color_when = ColorWhen::kAuto;

std::string_view variable(const char* name) {
  const char* const value = std::getenv(name);
  return value ? value : "";
}

fmt::text_style style_of(Paint paint) {
  switch (paint) {
    case Paint::kError:
      return fmt::emphasis::bold | fg(fmt::terminal_color::red);
    case Paint::kWarning:
      return fmt::emphasis::bold | fg(fmt::terminal_color::yellow);
    case Paint::kGood:
      return fg(fmt::terminal_color::green);
    case Paint::kBad:
      return fg(fmt::terminal_color::red);
    case Paint::kHeading:
      break;
  }
  return fmt::emphasis::bold;
}

}  // namespace

void set_color(ColorWhen when) { color_when = when; }

bool is_colored(Stream stream) {
  if (color_when != ColorWhen::kAuto) return color_when == ColorWhen::kAlways;
  if (!variable("NO_COLOR").empty()) return false;
  if (const std::string_view force = variable("CLICOLOR_FORCE"); !force.empty() && force != "0") return true;
  return is_terminal(stream);
}

bool is_terminal(Stream stream) {
  const std::string_view terminal = variable("TERM");
  return !terminal.empty() && terminal != "dumb" && isatty(static_cast<int>(stream));
}

std::string painted(std::string_view text, Paint paint, Stream stream) {
  return is_colored(stream) ? fmt::format(style_of(paint), "{}", text) : std::string(text);
}

size_t terminal_columns(Stream stream) {
  winsize size{};
  const int fd = static_cast<int>(stream);
  if (!isatty(fd)) return 0;
  return ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 80;
}

void print_error(std::string_view message) {
  std::fprintf(stderr, "%s %s\n", painted("error:", Paint::kError, Stream::kError).c_str(),
               visible_text(message).c_str());
}

}  // namespace troupe::cli
