#include "cli/run_file.h"

namespace troupe::cli {

RunFile load_run_file(const std::filesystem::path& path, const std::vector<std::string>& overrides) {
  const RunFile run = load_run_config(path, overrides);
  check_rules(run, path.string());
  return run;
}

}  // namespace troupe::cli
