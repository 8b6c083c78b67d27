#include "cli/help_format.h"

#include <cctype>

namespace troupe::cli {

std::string HelpFormat::make_option_opts(const CLI::Option* option) const {
  std::string text = CLI::Formatter::make_option_opts(option);
  const std::string& value = option->get_default_str();
  const bool positive = option->get_type_name().find("POSITIVE") != std::string::npos;
  const std::string shown = "=" + value;
  if (value == "[]" || value == "{}" || (positive && value == "0"))
    if (const size_t at = text.find(shown); at != std::string::npos) text.erase(at, shown.size());
  return text;
}

std::string HelpFormat::make_option_desc(const CLI::Option* option) const {
  std::string text = CLI::Formatter::make_option_desc(option);
  const bool word = text.size() > 1 && std::isupper(static_cast<unsigned char>(text[0])) &&
                    !std::isupper(static_cast<unsigned char>(text[1]));  // not JSON or NAME
  if (word) text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  return text;
}

}  // namespace troupe::cli
