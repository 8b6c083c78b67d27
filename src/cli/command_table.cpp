#include "cli/command_table.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>

#include "data/corpus/released/paper.h"
#include "data/corpus/sources.h"
#include "eval/tasks/builtin_tasks.h"
#include "eval/tasks/task_file.h"
#include "io/fields.h"
#include "model/presets.h"
#include "study/study_config.h"
#include "train/run_config.h"

namespace troupe::cli {
namespace {

bool is_upper(char c) { return std::isupper(static_cast<unsigned char>(c)); }

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts(1);
  for (const char c : text)
    if (c == at)
      parts.emplace_back();
    else
      parts.back() += c;
  return parts;
}

template <class Config>
std::vector<std::string> keys_of(const Config& config) {
  std::vector<std::string> keys;
  const FieldList fields = fields_of(config);
  for (const Field& field : fields.fields()) keys.push_back(field.path);
  return keys;
}

std::vector<std::string> task_names() {
  std::vector<std::string> names = {"all"};
  for (const TaskFile& task : load_tasks({})) names.push_back(task.name);
  return names;
}

void set_kind(Flag& flag, const std::string& command) {
  const auto choose = [&](std::vector<std::string> choices) {
    flag.kind = ValueKind::kChoice;
    flag.choices = std::move(choices);
  };
  const std::string word = flag.value.substr(0, flag.value.find(':'));
  const auto names = [&](const char* part) { return word.find(part) != word.npos; };
  if (word.empty()) {
    flag.kind = ValueKind::kNone;
  } else if (word == "key=value") {
    flag.kind = ValueKind::kKey;
    flag.choices = command == "study" ? keys_of(StudyFile())
                   : command == "finetune" ? keys_of(finetune_keys())
                                           : keys_of(RunConfig());
  } else if (word == "PRESET") {
    std::vector<std::string> choices;
    for (const Preset& preset : presets()) choices.emplace_back(preset.name);
    choose(std::move(choices));
  } else if (word == "CORPUS") {
    std::vector<std::string> choices;
    for (const corpus::Corpus& corpus : corpus::corpora()) choices.emplace_back(corpus.name);
    choices.emplace_back(corpus::kPaperCorpus);
    choose(std::move(choices));
  } else if (word == "TASK") {
    choose(task_names());
  } else if (word == "DIR" || word == "MODEL" || word == "RUN") {
    flag.kind = ValueKind::kFolder;
  } else if (names("FILE") || names("PATH") || names("DIR") || names(".toml")) {
    flag.kind = ValueKind::kPath;
  } else if (names("|") && std::none_of(word.begin(), word.end(), is_upper)) {
    choose(split(word, '|'));
  } else {
    const bool number = word == "INT" || word == "UINT" || word == "FLOAT" || word == "BYTES" || word == "N";
    flag.kind = number ? ValueKind::kNumber : ValueKind::kText;
  }
}

Flag flag_of(const CLI::Option& option, const std::string& command) {
  Flag flag;
  flag.positional = option.get_positional();
  if (flag.positional) {
    flag.names = {option.get_name(true, false)};
  } else {
    for (const std::string& name : option.get_snames()) flag.names.push_back("-" + name);
    for (const std::string& name : option.get_lnames()) flag.names.push_back("--" + name);
  }
  flag.value = value_name(option);
  set_kind(flag, command);
  flag.about = flag_text(option.get_description());
  flag.default_value = default_value(option);
  flag.environment = option.get_envname();
  flag.group = option.get_group();
  flag.required = option.get_required();
  flag.repeated = option.get_expected_max() > 1;
  flag.list = option.get_delimiter() == ',';
  return flag;
}

Command command_of(const CLI::App& app, const std::string& name) {
  Command command{.name = name, .about = command_text(app.get_description()), .flags = {}, .commands = {}};
  for (const CLI::Option* option : app.get_options())
    if (!option->get_group().empty()) command.flags.push_back(flag_of(*option, name));
  std::stable_partition(command.flags.begin(), command.flags.end(), [](const Flag& flag) { return flag.positional; });
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; }))
    command.commands.push_back(command_of(*sub, (name.empty() ? "" : name + " ") + sub->get_name()));
  return command;
}

}  // namespace

Command command_table(const CLI::App& app) { return command_of(app, ""); }

std::vector<const Command*> all_commands(const Command& command) {
  std::vector<const Command*> all = {&command};
  for (const Command& sub : command.commands)
    for (const Command* below : all_commands(sub)) all.push_back(below);
  return all;
}

std::string value_name(const CLI::Option& option) {
  if (option.get_type_size() == 0) return {};
  std::string name = option.get_type_name();
  if (name == "DIR:DIR" || name == "CONFIG.toml:FILE") name.resize(name.find(':'));
  return name;
}

std::string default_value(const CLI::Option& option) {
  const std::string& value = option.get_default_str();
  const bool positive = option.get_type_name().find("POSITIVE") != std::string::npos;
  if (option.get_type_size() == 0 || value == "[]" || value == "{}" || (positive && value == "0")) return {};
  return value;
}

std::string flag_text(std::string text) {
  const bool word = text.size() > 1 && is_upper(text[0]) && !is_upper(text[1]);  // not JSON or NAME
  if (word) text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  return text;
}

std::string command_text(std::string text) {
  if (!text.empty() && text.back() == '.') text.pop_back();
  if (!text.empty()) text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
  return text;
}

}  // namespace troupe::cli
