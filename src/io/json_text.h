// The one writer of JSON: every file, line and message of the program that holds JSON gets its text here. It cannot
// fail: bytes that are not UTF-8 (a model's text, the name of a file), which JSON has no way to say, become U+FFFD, and
// a number that is NaN or infinite becomes null. What must come back byte by byte is therefore UTF-8 before it gets
// here (configuration values, names of tensors and of tokens: each is refused where it is set), and numbers are read
// back with number_or_nan().
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace troupe {

std::string json_text(const nlohmann::json& value);  // on one line
std::string json_text(const nlohmann::ordered_json& value);

std::string json_file_text(const nlohmann::json& value);  // indented by one space, a newline at the end
std::string json_file_text(const nlohmann::ordered_json& value);

// For messages: on one line, and cut after 60 bytes.
std::string json_excerpt(const nlohmann::json& value);
std::string json_excerpt(const nlohmann::ordered_json& value);

// A number as json_text() writes it: null is NaN. Throws nlohmann's type_error for anything else.
double number_or_nan(const nlohmann::json& value);

}  // namespace troupe
