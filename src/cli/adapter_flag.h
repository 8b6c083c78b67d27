// --adapter, of commands that use a model.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace troupe::cli {

inline CLI::Option* add_adapter_flag(CLI::App& command, std::string& adapter) {
  return command
      .add_option(
          "--adapter", adapter,
          "folder of a low-rank adapter (PEFT's files), or of a run that trained one: merged into the model as it "
          "is read")
      ->type_name("DIR")
      ->default_str("");
}

}  // namespace troupe::cli
