// Every command with its flags as plain data, read off the program's own parser: what completion, manual pages and the
// reference in docs/cli.md are written from, so that none of them can say something else than --help.
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace troupe::cli {

// What a flag takes, by the name of its value in --help.
enum class ValueKind {
  kNone,    // a switch
  kText,
  kNumber,
  kChoice,  // "auto|fp32|bf16", PRESET, TASK, CORPUS
  kKey,     // key=value of a configuration
  kFolder,  // DIR, MODEL, RUN
  kPath,    // FILE, PATH, NAME=PATH, ...
};

struct Flag {
  std::vector<std::string> names;    // "-q", "--quiet"; of what has no flag its name, "config"
  std::string value;                 // "DIR"; empty for a switch
  ValueKind kind = ValueKind::kNone;
  std::vector<std::string> choices;  // of kChoice and kKey
  std::string about, default_value, environment, group;
  bool positional = false, required = false, repeated = false;
  bool list = false;  // of values separated by commas

  const std::string& name() const { return names.back(); }
};

struct Command {
  std::string name;   // "eval ppl"; "" for the program
  std::string about;  // a sentence without its full stop
  std::vector<Flag> flags;
  std::vector<Command> commands;

  std::string program() const { return name.empty() ? "troupe" : "troupe " + name; }
};

Command command_table(const CLI::App& app);
// The command and those below it, in order.
std::vector<const Command*> all_commands(const Command& command);

// "auto|fp32|bf16" instead of CLI11's "TEXT:..."; a default only where it is a value that one could give.
std::string value_name(const CLI::Option& option);
std::string default_value(const CLI::Option& option);
// Descriptions of flags begin in lower case, those of commands in upper case and without a full stop.
std::string flag_text(std::string text);
std::string command_text(std::string text);

}  // namespace troupe::cli
