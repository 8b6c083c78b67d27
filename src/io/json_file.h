// JSON files: parsed with errors that name file, line and column; duplicate keys are errors, not overwritten in
// silence.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace troupe {

// `where` opens every message, e.g. the path. Throws kData: "config.json: line 3, column 7: expected ..., got ...".
// At most 256 levels of nesting.
nlohmann::json parse_json(std::string_view text, const std::string& where);
nlohmann::json read_json_file(const std::filesystem::path& path);

// Indented by one space, keys in the order of insertion (ordered_json) or of the alphabet, a newline at the end;
// written atomically.
void write_json_file(const std::filesystem::path& path, const nlohmann::ordered_json& value);
void write_json_file(const std::filesystem::path& path, const nlohmann::json& value);

// A byte offset as a person counts: "line 3, column 7", or "column 7" of a text that is one line.
std::string position_in(std::string_view text, size_t byte);

}  // namespace troupe
