// How a subcommand joins the program: one file per subcommand defines `void add_NAME(CLI::App& app)`
// and one row in commands.inc lists it. The callback that it registers prints results on stdout and throws
// troupe::Error on failure; main.cpp alone turns errors into exit codes.
#pragma once

#include <cstdio>
#include <functional>
#include <string>

namespace CLI {
class App;
}

namespace troupe::cli {

#define TROUPE_COMMAND(name) void add_##name(CLI::App& app);
#include "cli/commands.inc"
#undef TROUPE_COMMAND

}  // namespace troupe::cli
