// troupe man: manual pages, and the reference of all flags in docs/cli.md, from the table of commands.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <memory>

#include "base/error.h"
#include "cli/command.h"
#include "cli/command_table.h"
#include "cli/output.h"
#include "io/atomic_file.h"

namespace troupe::cli {
namespace {

struct Line {
  const char *name, *meaning;
};

constexpr Line kExitCodes[] = {
    {"0", "done"},
    {"1", "ran, and the answer is no (a threshold missed, a table differs)"},
    {"2", "usage or configuration"},
    {"3", "bad data, model or checkpoint"},
    {"4", "environment: instruction set, memory, disk, missing tool, another process at work in the same folder"},
    {"5", "loss, gradient, updated parameters or logits not finite"},
    {"70", "a bug of ours"},
    {"130", "interrupted; a checkpoint was written where there is one, unfinished files were removed"},
};

constexpr Line kEnvironment[] = {
    {"OMP_NUM_THREADS", "threads, unless --threads says; by default one per core, within the control group's quota"},
    {"OMP_PROC_BIND", "whether threads stay on cores; by default they do where there are several NUMA nodes"},
    {"OMP_PLACES", "where they run"},
    {"GOMP_SPINCOUNT", "how long threads spin before they sleep; by default some microseconds"},
    {"TROUPE_ISA",
     "caps the instruction set: generic, avx2, avx512, avx512bf16, amx; one that the CPU lacks is an error"},
    {"TROUPE_TASK_DATA", "folder of evaluation data, instead of --data-dir"},
    {"TROUPE_LOG", "dispatch: says which implementation of every op was chosen, and why others refused"},
    {"NO_COLOR", "if not empty: no colours, unless --color says"},
    {"CLICOLOR_FORCE", "if not empty and not 0: colours even where stdout or stderr is no terminal"},
};

// "--gelu auto|erf|tanh", "-q, --quiet", "config".
std::string spelled(const Flag& flag) {
  if (flag.positional) return flag.value.empty() ? flag.name() : flag.value;
  std::string text;
  for (const std::string& name : flag.names) text += (text.empty() ? "" : ", ") + name;
  return flag.value.empty() ? text : text + " " + flag.value;
}

std::string facts(const Flag& flag) {
  std::string text;
  const auto add = [&](const std::string& fact) { text += (text.empty() ? "" : "; ") + fact; };
  if (flag.required) add("required");
  if (flag.repeated) add("may be repeated");
  if (!flag.default_value.empty()) add("default " + flag.default_value);
  if (!flag.environment.empty()) add("or the variable " + flag.environment);
  return text;
}

std::string usage(const Command& command) {
  std::string text = command.program();
  if (!command.commands.empty()) return text + " COMMAND [OPTIONS]";
  text += " [OPTIONS]";
  for (const Flag& flag : command.flags)
    if (flag.positional)
      text += " " + (flag.required ? spelled(flag) : "[" + spelled(flag) + "]") + (flag.repeated ? "..." : "");
  return text;
}

// Of roff, where a line may not begin with a control character and "-" is a hyphen.
std::string roff(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (out.empty() && (c == '.' || c == '\'')) out += "\\&";
    if (c == '\\')
      out += "\\e";
    else if (c == '-')
      out += "\\-";
    else
      out += c;
  }
  return out;
}

std::string page_name(const Command& command) {
  std::string name = command.program();
  for (char& c : name)
    if (c == ' ') c = '-';
  return name;
}

// Today, or SOURCE_DATE_EPOCH for builds that can be repeated.
std::string page_date() {
  const char* const epoch = std::getenv("SOURCE_DATE_EPOCH");
  const std::time_t now = epoch ? static_cast<std::time_t>(std::strtoll(epoch, nullptr, 10)) : std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  return fmt::format("{:04}-{:02}-{:02}", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday);
}

std::string man_page(const Command& command) {
  std::string title = page_name(command);
  for (char& c : title) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  std::string out = fmt::format(".TH {} 1 {} \"troupe {}\" \"Troupe\"\n", title, page_date(), TROUPE_VERSION);
  out += fmt::format(".SH NAME\n{} \\- {}\n", roff(page_name(command)), roff(command.about));
  out += fmt::format(".SH SYNOPSIS\n.B {}\n{}\n", roff(command.program()),
                     roff(usage(command).substr(command.program().size() + 1)));
  out += ".SH DESCRIPTION\n" + roff(command.about) + ".\n";
  std::string section;
  for (const Flag& flag : command.flags) {
    const std::string heading = flag.positional ? "ARGUMENTS" : flag.group == "Options" ? "OPTIONS" : flag.group;
    if (heading != section) out += fmt::format(".SH \"{}\"\n", section = heading);
    std::string names;
    for (const std::string& name : flag.names) names += (names.empty() ? "" : ", ") + ("\\fB" + roff(name) + "\\fR");
    if (!flag.value.empty()) names += " \\fI" + roff(flag.value) + "\\fR";
    out += ".TP\n" + names + "\n" + roff(flag.about) + "\n";
    if (const std::string more = facts(flag); !more.empty()) out += "(" + roff(more) + ")\n";
  }
  const auto list = [&](const char* heading, const auto& rows) {
    out += fmt::format(".SH \"{}\"\n", heading);
    for (const Line& row : rows) out += fmt::format(".TP\n\\fB{}\\fR\n{}\n", roff(row.name), roff(row.meaning));
  };
  std::string see;
  if (!command.commands.empty()) {
    out += ".SH COMMANDS\n";
    for (const Command& sub : command.commands) {
      out += fmt::format(".TP\n\\fB{}\\fR(1)\n{}\n", roff(page_name(sub)), roff(sub.about));
      see += fmt::format("{}.BR {} (1)", see.empty() ? "" : ",\n", roff(page_name(sub)));
    }
  }
  list("EXIT STATUS", kExitCodes);
  if (command.name.empty()) list("ENVIRONMENT", kEnvironment);
  out += ".SH SEE ALSO\n";
  out += command.name.empty() ? see + "\n" : ".BR troupe (1)\n";
  return out;
}

std::string in_cell(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|' || c == '<' || c == '*') out += '\\';
    out += c;
  }
  return out;
}

std::string markdown_table(const char* first, const char* second) {
  return fmt::format("| {} | {} |\n|---|---|\n", first, second);
}

constexpr const char* kMark = "<!-- What follows is written by `troupe man --markdown`; do not edit. -->\n";

std::string markdown(const Command& root) {
  std::string out = kMark;
  out += "\n## Commands\n\n" + markdown_table("command", "what it does");
  for (const Command* command : all_commands(root))
    if (!command->name.empty() && command->commands.empty())
      out += fmt::format("| [`{}`](#{}) | {} |\n", command->name, page_name(*command), in_cell(command->about));
  out += "\n## Exit codes\n\n" + markdown_table("code", "meaning");
  for (const Line& line : kExitCodes) out += fmt::format("| {} | {} |\n", line.name, line.meaning);
  out += "\n## Environment\n\n" + markdown_table("variable", "meaning");
  for (const Line& line : kEnvironment) out += fmt::format("| `{}` | {} |\n", line.name, in_cell(line.meaning));
  for (const Command* command : all_commands(root)) {
    if (!command->name.empty() && !command->commands.empty()) continue;
    out += fmt::format("\n### {}\n\n`{}`: {}.\n\n", page_name(*command), usage(*command), in_cell(command->about));
    out += markdown_table(command->name.empty() ? "flag of every command" : "flag", "meaning");
    for (const Flag& flag : command->flags) {
      if (flag.names.front() == "-h" || (flag.group == "Everywhere" && !command->name.empty())) continue;
      const std::string more = facts(flag);
      out += fmt::format("| `{}` | {}{} |\n", in_cell(spelled(flag)), in_cell(flag.about),
                         more.empty() ? "" : " (" + in_cell(more) + ")");
    }
  }
  return out;
}

struct ManFlags {
  std::string out, check;
  bool markdown = false;
};

void check_markdown(const std::string& path, const std::string& expected) {
  const std::string text = read_file(path);
  const size_t mark = text.find(kMark);
  if (mark == text.npos || text.substr(mark) != expected)
    fail(ErrorCode::kNo,
         "{}: expected the output of `troupe man --markdown` at its end, got another text (write it anew)", path);
}

void run(const Command& root, const ManFlags& flags) {
  if (!flags.check.empty()) return check_markdown(flags.check, markdown(root));
  if (flags.markdown) return print_bytes(markdown(root));
  if (flags.out.empty()) return print_bytes(man_page(root));
  for (const Command* command : all_commands(root)) {
    const std::filesystem::path path = std::filesystem::path(flags.out) / (page_name(*command) + ".1");
    write_file_atomically(path, man_page(*command));
  }
}

}  // namespace

void add_manual(CLI::App& app) {
  auto* const command =
      app.add_subcommand("man", "Manual pages of all commands; without a flag that of troupe, as roff");
  const auto flags = std::make_shared<ManFlags>();
  CLI::Option* const out =
      command->add_option("--out", flags->out, "folder to write troupe.1, troupe-train.1 and so on")->type_name("DIR");
  CLI::Option* const text =
      command->add_flag("--markdown", flags->markdown, "the reference of all flags at the end of docs/cli.md instead");
  command
      ->add_option("--check", flags->check, "compare the end of this file with --markdown; exit code 1 if it is stale")
      ->type_name("FILE")
      ->excludes(out)
      ->excludes(text);
  command->callback([&app, flags] { run(command_table(app), *flags); });
}

}  // namespace troupe::cli
