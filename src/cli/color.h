// Colour on a terminal, and its width. Never in files, pipes or JSON.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include "troupe/fields.h"

namespace troupe::cli {

enum class ColorWhen { kAuto, kAlways, kNever };

enum class Paint { kError, kWarning, kHeading, kGood, kBad };

enum class Stream { kOut = 1, kError = 2 };  // file descriptors

// auto: on a terminal, unless NO_COLOR is set or TERM is dumb; CLICOLOR_FORCE colours what is no terminal, too.
void set_color(ColorWhen when);
bool is_colored(Stream stream);
// A terminal on which a line can be drawn anew.
bool is_terminal(Stream stream);

// The text in the colour if the stream takes colours, else as it is.
std::string painted(std::string_view text, Paint paint, Stream stream);

// "error: MESSAGE" on stderr.
void print_error(std::string_view message);

// Of the terminal; 0 if the stream is none.
size_t terminal_columns(Stream stream);

}  // namespace troupe::cli

namespace troupe {
template <>
struct EnumNames<cli::ColorWhen> {
  static constexpr std::array<std::pair<std::string_view, cli::ColorWhen>, 3> values = {
      {{"auto", cli::ColorWhen::kAuto}, {"always", cli::ColorWhen::kAlways}, {"never", cli::ColorWhen::kNever}}};
};
}  // namespace troupe
