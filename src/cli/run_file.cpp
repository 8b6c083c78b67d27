#include "cli/run_file.h"

#include "io/toml_config.h"

namespace troupe::cli {

RunFile load_run_file(const std::filesystem::path& path, const std::vector<std::string>& overrides) {
  const RunFile run = load_config<RunFile>(path, overrides);
  check_rules(run, path.string());
  return run;
}

}  // namespace troupe::cli
