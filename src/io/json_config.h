// Configuration structs in JSON: `config.json` of a model directory.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "io/fields.h"

namespace troupe {

// One key per field in the order of the struct; nested structs are objects.
nlohmann::ordered_json to_json(const FieldList& fields);

// Sets the fields that the object names; others keep their values. `where` opens every message, e.g. the file's path.
// Throws kData for an unknown key, a wrong type or a value out of range:
// "config.json: moe.num_experts: expected a whole number in [0, 65536], got "12"".
void from_json(const nlohmann::json& object, const std::string& where, FieldList& fields);

}  // namespace troupe
