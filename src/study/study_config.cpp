#include "study/study_config.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/unicode.h"
#include "io/folder_name.h"
#include "io/named_path.h"
#include "io/toml_config.h"

namespace troupe {

std::vector<int64_t> seeds_of(const StudyConfig& config) {
  return config.seeds.empty() ? std::vector<int64_t>{config.seed} : config.seeds;
}

void check(const StudyConfig& config, const std::string& where) {
  constexpr std::string_view kTaken[] = {"data", "plan.json", "summary.json", "report.html"};  // see study.h
  const std::string place = where + ": study.models";
  if (!config.grid.empty()) {
    if (!config.models.empty())
      fail(ErrorCode::kUsage, "{}: expected models or study.grid.families, got both", place);
    return;
  }
  if (config.models.empty()) fail(ErrorCode::kUsage, "{}: expected at least one, got none", place);
  FolderNames names;
  for (const std::string& text : config.models) {
    const std::string name = parse_named_path(text, place).name;
    names.add(name, ErrorCode::kUsage, place, "write NAME=CONFIG.toml");
    if (std::find(std::begin(kTaken), std::end(kTaken), unicode::lower(name)) != std::end(kTaken))
      fail(ErrorCode::kUsage, "{}: expected another name than {} (the study's own files), got {}", place,
           fmt::join(kTaken, ", "), name);
  }
}

StudyConfig load_study(const std::filesystem::path& path, const std::vector<std::string>& overrides) {
  StudyFile file;
  FieldList fields = fields_of(file);
  read_config(path, overrides, fields);
  const auto place = [&](const char* key) {
    const std::string& origin = fields.find(key)->origin;
    return origin == "default" ? path.string() : origin;
  };
  check(file.study, place("study.models"));
  std::set<int64_t> seeds;
  for (const int64_t seed : file.study.seeds)
    if (!seeds.insert(seed).second)
      fail(ErrorCode::kUsage, "{}: study.seeds: expected each seed once, got {} twice", place("study.seeds"), seed);
  if (file.study.grid.empty() && file.study.tokens == 0)
    fail(ErrorCode::kUsage, "{}: study.tokens: expected the number of training tokens of each model, got none",
         path.string());
  for (const Field& field : fields.fields())
    if (field.origin != "default") file.study.grid.origins[key_of(field)] = field.origin;
  if (!file.study.grid.empty())
    for (const char* key : {"study.tokens", "study.seed", "study.seeds", "study.max_minutes", "study.prompts"})
      if (const std::string& origin = fields.find(key)->origin; origin != "default")
        fail(ErrorCode::kUsage, "{}: {}: expected none beside study.grid (which has tokens, seeds and max_hours)", origin,
             key);
  if (file.study.grid.empty() && !file.study.tasks.names.empty())
    fail(ErrorCode::kUsage, "{}: study.tasks.names: expected none without study.grid, got {}", place("study.tasks.names"),
         file.study.tasks.names.front());
  return file.study;
}

}  // namespace troupe
