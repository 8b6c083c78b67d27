// troupe completion bash | zsh | fish: what a shell needs to complete commands, flags, names, files and keys. The
// scripts hold everything: completing starts no process of ours.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <map>
#include <memory>

#include "cli/choice.h"
#include "cli/command.h"
#include "cli/command_table.h"
#include "cli/output.h"
#include "io/atomic_file.h"

namespace troupe::cli {
namespace {

std::string joined(const std::vector<std::string>& words, const char* between = " ") {
  return fmt::format("{}", fmt::join(words, between));
}

// "/train" and "eval/ppl": the command so far, and the word that leads below it.
std::vector<std::string> steps(const Command& root) {
  std::vector<std::string> steps;
  for (const Command* command : all_commands(root)) {
    if (command->name.empty()) continue;
    const size_t space = command->name.rfind(' ');
    steps.push_back(space == std::string::npos
                        ? "/" + command->name
                        : command->name.substr(0, space) + "/" + command->name.substr(space + 1));
  }
  return steps;
}

std::vector<std::string> flag_names(const Command& command) {
  std::vector<std::string> names;
  for (const Flag& flag : command.flags)
    if (!flag.positional) names.insert(names.end(), flag.names.begin(), flag.names.end());
  return names;
}

std::vector<std::string> command_words(const Command& command) {
  std::vector<std::string> words;
  for (const Command& sub : command.commands) words.push_back(sub.name.substr(sub.name.rfind(' ') + 1));
  return words;
}

// The way in which a value is completed -> the places "COMMAND FLAG" that take it.
using Ways = std::map<std::string, std::vector<std::string>>;

// What stands in a command's own words, without a flag: the first of them that can be completed.
const Flag* completed_positional(const Command& command) {
  for (const Flag& flag : command.flags)
    if (flag.positional && flag.kind != ValueKind::kText && flag.kind != ValueKind::kNumber) return &flag;
  return nullptr;
}

struct ShellWords {  // how a shell offers what
  const char *folders, *files, *choices, *list, *keys, *nothing;
};

std::string way_of(const Flag& flag, const ShellWords& shell) {
  switch (flag.kind) {
    case ValueKind::kFolder:
      return shell.folders;
    case ValueKind::kPath:
      return shell.files;
    case ValueKind::kChoice:
      return fmt::format(fmt::runtime(flag.list ? shell.list : shell.choices), joined(flag.choices));
    case ValueKind::kKey:
      return fmt::format(fmt::runtime(shell.keys), joined(flag.choices));
    case ValueKind::kNone:
    case ValueKind::kText:
    case ValueKind::kNumber:
      break;
  }
  return shell.nothing;
}

Ways ways_of(const Command& root, const ShellWords& shell) {
  Ways ways;
  for (const Command* command : all_commands(root)) {
    for (const Flag& flag : command->flags)
      if (!flag.positional && flag.kind != ValueKind::kNone)
        for (const std::string& name : flag.names)
          ways[way_of(flag, shell)].push_back("\"" + command->name + " " + name + "\"");
    if (const Flag* flag = completed_positional(*command))
      ways[way_of(*flag, shell)].push_back("\"" + command->name + " \"");
  }
  return ways;
}

std::string bash_script(const Command& root) {
  const ShellWords shell = {.folders = "_troupe_paths -d",
                            .files = "_troupe_paths -f",
                            .choices = "_troupe_words '{}'",
                            .list = "_troupe_list '{}'",
                            .keys = "_troupe_keys '{}'",
                            .nothing = ":"};
  std::string out = R"(# bash completion of troupe: what `troupe completion bash` printed.

_troupe_words() { mapfile -t COMPREPLY < <(compgen -W "$1" -- "$cur"); }
# What follows the last comma, of the words that do not stand before it.
_troupe_list() {
  local word left= given=
  [[ $cur == *,* ]] && given=${cur%,*},
  for word in $1; do [[ ,$given == *",$word,"* ]] || left+=" $word"; done
  mapfile -t COMPREPLY < <(compgen -P "$given" -W "$left" -- "${cur##*,}")
  compopt -o nospace 2>/dev/null
}
_troupe_keys() {
  mapfile -t COMPREPLY < <(compgen -W "$1" -S = -- "$cur")
  compopt -o nospace 2>/dev/null
}
_troupe_paths() {
  mapfile -t COMPREPLY < <(compgen "$1" -- "$cur")
  compopt -o filenames 2>/dev/null
}

# What a flag takes, or (without one) the command itself. False if nothing is known to come here.
_troupe_value() {
  case "$command $1" in
)";
  for (const auto& [way, places] : ways_of(root, shell))
    out += fmt::format("    {}) {} ;;\n", joined(places, "|"), way);
  out += R"(    *) return 1 ;;
  esac
  return 0
}

_troupe() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev= command= i
  ((COMP_CWORD > 0)) && prev=${COMP_WORDS[COMP_CWORD - 1]}
  COMPREPLY=()
  # bash cuts words at "=": --flag=value, and key=value behind --set.
  if [[ $cur == "=" ]]; then
    cur=
  elif [[ $prev == "=" ]]; then
    prev=${COMP_WORDS[COMP_CWORD - 2]}
  fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$command/${COMP_WORDS[i]}" in
)";
  out += fmt::format("      {}) command=\"${{command:+$command }}${{COMP_WORDS[i]}}\" ;;\n", joined(steps(root), "|"));
  out += R"(      /help) ;;
    esac
  done
  [[ $prev == -* ]] && _troupe_value "$prev" && return
  local flags= commands=
  case "$command" in
)";
  for (const Command* command : all_commands(root))
    out += fmt::format("    \"{}\") flags='{}' commands='{}' ;;\n", command->name, joined(flag_names(*command)),
                       joined(command_words(*command)) + (command->name.empty() ? " help" : ""));
  out += R"(  esac
  if [[ $cur == -* ]]; then
    _troupe_words "$flags"
  elif [[ -n $commands ]]; then
    _troupe_words "$commands"
  else
    _troupe_value "" || true
  fi
}

complete -F _troupe troupe
)";
  return out;
}

std::string zsh_quoted(std::string_view text) {  // in single quotes, for zsh
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

// "word:description" for _describe.
std::string described(const std::string& word, const std::string& about) {
  std::string text;
  for (const char c : word) text += c == ':' ? std::string("\\:") : std::string(1, c);
  return zsh_quoted(text + ":" + about);
}

std::string zsh_script(const Command& root) {
  const ShellWords shell = {.folders = "_files -/",
                            .files = "_files",
                            .choices = "compadd -- {}",
                            .list = "_sequence compadd - {}",
                            .keys = "compset -P '*=' || compadd -S = -- {}",
                            .nothing = "_message value"};
  std::string out = R"(#compdef troupe
# zsh completion of troupe: what `troupe completion zsh` printed.

# What a flag takes, or (without one) the command itself. False if nothing is known to come here.
_troupe_value() {
  case "$troupe_command $1" in
)";
  for (const auto& [way, places] : ways_of(root, shell))
    out += fmt::format("    ({}) {} ;;\n", joined(places, "|"), way);
  out += R"(    (*) return 1 ;;
  esac
  return 0
}

_troupe() {
  local troupe_command= word prev=${words[CURRENT-1]}
  local -a flags commands
  for word in ${words[2,CURRENT-1]}; do
    case "$troupe_command/$word" in
)";
  out += fmt::format("      ({}) troupe_command=\"${{troupe_command:+$troupe_command }}$word\" ;;\n",
                     joined(steps(root), "|"));
  out += R"(    esac
  done
  if [[ ${words[CURRENT]} == --*=* ]]; then
    prev=${words[CURRENT]%%=*}
    compset -P '--*='
  fi
  [[ $prev == -* ]] && _troupe_value "$prev" && return
  case "$troupe_command" in
)";
  for (const Command* command : all_commands(root)) {
    std::vector<std::string> flags, commands;
    for (const Flag& flag : command->flags)
      if (!flag.positional)
        for (const std::string& name : flag.names) flags.push_back(described(name, flag.about));
    for (const Command& sub : command->commands)
      commands.push_back(described(sub.name.substr(sub.name.rfind(' ') + 1), sub.about));
    out += fmt::format("    (\"{}\")\n      flags=({})\n      commands=({})\n      ;;\n", command->name,
                       joined(flags, "\n        "), joined(commands, "\n        "));
  }
  out += R"(  esac
  if [[ ${words[CURRENT]} == -* ]]; then
    _describe flag flags
  elif (( $#commands )); then
    _describe command commands
  else
    _troupe_value ""
  fi
}

if [[ ${funcstack[1]} == _troupe ]]; then
  _troupe "$@"
else
  compdef _troupe troupe
fi
)";
  return out;
}

std::string fish_quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' || c == '\\' ? std::string("\\") + c : std::string(1, c);
  return out + "'";
}

std::string fish_script(const Command& root) {
  std::string out = R"(# fish completion of troupe: what `troupe completion fish` printed.

function __troupe_at
    set -l command
    for word in (commandline -opc)[2..-1]
        switch "$command/$word"
            case )";
  out += joined(steps(root)) + R"(
                set command (string trim -- "$command $word")
        end
    end
    test "$command" = "$argv[1]"
end

# The words that may follow the last comma, behind what stands before it.
function __troupe_list
    set -l given (string match -r '^(?:--[^=]*=)?(.*,)' -- (commandline -ct))[2]
    for word in $argv
        contains -- $word (string split , -- "$given"); or printf '%s\n' "$given$word"
    end
end

complete -c troupe -f
)";
  for (const Command* command : all_commands(root)) {
    const std::string at = fmt::format("complete -c troupe -n '__troupe_at \"{}\"'", command->name);
    for (const Command& sub : command->commands)
      out += fmt::format("{} -a {} -d {}\n", at, sub.name.substr(sub.name.rfind(' ') + 1), fish_quoted(sub.about));
    for (const Flag& flag : command->flags) {
      const ShellWords shell = {.folders = " -x -a '(__fish_complete_directories)'",
                                .files = " -r -F",
                                .choices = " -x -a '{}'",
                                .list = " -x -a '(__troupe_list {})'",
                                .keys = " -x -a '(string replace -r \"\\$\" = -- {})'",
                                .nothing = " -x"};
      if (flag.positional) {
        if (&flag != completed_positional(*command)) continue;
        const bool words = flag.kind == ValueKind::kChoice;
        out += at + (words ? fmt::format(" -a '{}'", joined(flag.choices)) : std::string(" -F")) + "\n";
        continue;
      }
      std::string names;
      for (const std::string& name : flag.names)
        names += name[1] == '-' ? " -l " + name.substr(2) : " -s " + name.substr(1);
      out += fmt::format("{}{}{} -d {}\n", at, names, flag.kind == ValueKind::kNone ? "" : way_of(flag, shell),
                         fish_quoted(flag.about));
    }
  }
  return out;
}

}  // namespace

void add_completion(CLI::App& app) {
  auto* const command = app.add_subcommand("completion", "Completion of commands, flags and values for a shell");
  const auto shell = std::make_shared<std::string>();
  limit_to(command->add_option("shell", *shell, "the shell; `cmake --install` puts all three where they look"),
           {"bash", "zsh", "fish"})
      ->required();
  const auto out = std::make_shared<std::string>();
  command->add_option("--out", *out, "file to write instead of standard output")->type_name("FILE");
  command->callback([&app, shell, out] {
    const Command table = command_table(app);
    const std::string script = *shell == "bash" ? bash_script(table)
                               : *shell == "zsh" ? zsh_script(table)
                                                 : fish_script(table);
    out->empty() ? print_bytes(script) : static_cast<void>(write_file_atomically(*out, script));
  });
}

}  // namespace troupe::cli
