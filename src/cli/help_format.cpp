#include "cli/help_format.h"

#include <algorithm>
#include <sstream>

#include "cli/color.h"
#include "cli/command_table.h"

namespace troupe::cli {
namespace {

std::string heading(const std::string& text) { return painted(text, Paint::kHeading, Stream::kOut); }

// Words in lines of at most `width` characters (0: one line), those after the first behind `indent` spaces.
std::string wrapped(const std::string& text, size_t width, size_t indent) {
  if (width == 0) return text;
  std::istringstream words(text);
  std::string out, line;
  for (std::string word; words >> word;) {
    if (!line.empty() && line.size() + 1 + word.size() > width) {
      out += line + "\n" + std::string(indent, ' ');
      line.clear();
    }
    line += (line.empty() ? "" : " ") + word;
  }
  return out + line;
}

// "  name      text": the text on a line of its own if the name is too long.
std::string row(const std::string& name, const std::string& text, size_t column) {
  const size_t columns = terminal_columns(Stream::kOut);
  const size_t indent = columns > 0 ? std::min(column, columns / 2) : column;
  std::string out = "  " + name;
  if (text.empty()) return out + "\n";
  out += out.size() + 1 > indent ? "\n" + std::string(indent, ' ') : std::string(indent - out.size(), ' ');
  return out + wrapped(text, columns > 0 ? columns - indent - 1 : 0, indent) + "\n";
}

// What CLI11 writes begins with a line "Group:".
std::string with_heading(const std::string& text) {
  const size_t begin = text.find_first_not_of('\n');
  if (begin == text.npos) return text;
  const size_t end = std::min(text.find('\n', begin), text.size());
  return text.substr(0, begin) + heading(text.substr(begin, end - begin)) + text.substr(end);
}

}  // namespace

std::string HelpFormat::make_description(const CLI::App* app) const {
  return wrapped(command_text(app->get_description()), terminal_columns(Stream::kOut), 0) + "\n\n";
}

std::string HelpFormat::make_usage(const CLI::App* app, std::string name) const {
  const std::string text = CLI::Formatter::make_usage(app, std::move(name));
  const size_t colon = text.find(':') + 1;
  return heading(text.substr(0, colon)) + text.substr(colon);
}

std::string HelpFormat::make_group(std::string group, bool is_positional,
                                   std::vector<const CLI::Option*> options) const {
  return with_heading(CLI::Formatter::make_group(std::move(group), is_positional, std::move(options)));
}

std::string HelpFormat::make_subcommands(const CLI::App* app, CLI::AppFormatMode mode) const {
  return with_heading(CLI::Formatter::make_subcommands(app, mode));
}

std::string HelpFormat::make_subcommand(const CLI::App* sub) const {
  return row(sub->get_display_name(true), command_text(sub->get_description()), get_column_width());
}

std::string HelpFormat::make_option(const CLI::Option* option, bool is_positional) const {
  return row(make_option_name(option, is_positional) + make_option_opts(option), flag_text(option->get_description()),
             get_column_width());
}

std::string HelpFormat::make_option_opts(const CLI::Option* option) const {
  std::string text = CLI::Formatter::make_option_opts(option);
  const auto replace = [&](const std::string& from, const std::string& to) {
    if (const size_t at = text.find(from); !from.empty() && at != text.npos) text.replace(at, from.size(), to);
  };
  if (option->get_type_size() == 0) return text;
  replace(option->get_type_name(), value_name(*option));
  if (default_value(*option).empty()) replace("=" + option->get_default_str(), "");
  return text;
}

}  // namespace troupe::cli
