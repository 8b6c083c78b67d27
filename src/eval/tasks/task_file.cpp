#include "eval/tasks/task_file.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "base/enum_names.h"
#include "eval/tasks/builtin_tasks.h"
#include "eval/tasks/toml_reader.h"
#include "io/atomic_file.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;

template <class Enum>
Enum parse_name(const std::string& name, TomlReader& reader, std::string_view key) {
  if (const auto value = enum_of_name<Enum>(name)) return *value;
  reader.fail_at(reader.find(key), key, fmt::format("one of {}", fmt::join(names_of_enum<Enum>(), ", ")), name);
}

std::vector<Template> templates(TomlReader& reader, std::string_view key) {
  std::vector<Template> result;
  for (const std::string& text : reader.texts(key)) result.emplace_back(text, reader.place(key));
  return result;
}

std::optional<Template> optional_template(TomlReader& reader, std::string_view key) {
  const auto text = reader.optional_text(key);
  return text ? std::optional(Template(*text, reader.place(key))) : std::nullopt;
}

bool has_metric(const PromptSpec& spec, Metric metric) {
  return std::find(spec.metrics.begin(), spec.metrics.end(), metric) != spec.metrics.end();
}

PromptSpec parse_prompts(TomlReader reader, Convention convention) {
  PromptSpec spec;
  spec.contexts = templates(reader, "context");
  spec.choices = templates(reader, "choices");
  if (const auto delimiter = reader.optional_text("delimiter")) spec.delimiter = *delimiter;
  spec.label = optional_template(reader, "label");
  spec.several = reader.optional_flag("several").value_or(false);
  spec.labels = templates(reader, "labels");
  spec.answers = templates(reader, "answers");
  if (convention == Convention::kPaper) {
    if (const auto score = reader.optional_text("score")) spec.score = parse_name<PaperScore>(*score, reader, "score");
    spec.calibration = templates(reader, "calibration");
    const bool calibrated = spec.score == PaperScore::kUnconditional || spec.score == PaperScore::kAverageOption;
    if (spec.calibration.size() != (calibrated ? 1 : 0))
      reader.fail_at(reader.find("calibration"), "calibration",
                     calibrated ? "a context to compare with" : "none with this score",
                     calibrated ? "no such key" : "one");
  }
  if (reader.find("metrics")) {
    spec.metrics.clear();
    for (const std::string& name : reader.texts("metrics")) {
      const Metric metric = parse_name<Metric>(name, reader, "metrics");
      if (has_metric(spec, metric)) reader.fail_at(reader.find("metrics"), "metrics", "each once", name + " twice");
      spec.metrics.push_back(metric);
    }
  }
  reader.finish();
  if (spec.contexts.empty()) reader.fail_at(nullptr, "context", "a template", "no such key");
  if (spec.choices.empty()) reader.fail_at(nullptr, "choices", "templates", "no such key");
  if (spec.contexts.size() > 1 && spec.choices.size() != 1)
    reader.fail_at(reader.find("choices"), "choices", "one template, the same after each of several contexts",
                   fmt::format("{}", spec.choices.size()));
  if ((has_metric(spec, Metric::kSquadF1) || has_metric(spec, Metric::kSquadEm)) && spec.answers.empty())
    reader.fail_at(nullptr, "answers", "a template for squad_f1 and squad_em", "no such key");
  return spec;
}

TaskSource parse_source(TomlReader reader) {
  TaskSource source;
  source.options.format = parse_name<RecordFormat>(reader.text("format"), reader, "format");
  source.options.each = reader.optional_text("each").value_or("");
  source.options.expand = reader.texts("expand");
  source.id = optional_template(reader, "id");
  if (const toml::table* rename = reader.table("rename")) {
    TomlReader names = reader.reader(*rename, "rename");
    for (const auto& [from, ignored] : *rename) source.options.rename.emplace_back(from.str(), names.text(from.str()));
  }
  const toml::table* files = reader.table("files");
  if (!files) reader.fail_at(nullptr, "files", "a table SPLIT = \"FILE\"", "no such key");
  TomlReader file_reader = reader.reader(*files, "files");
  for (const auto& [split, ignored] : *files)
    source.files.push_back({std::string(split.str()), file_reader.text(split.str()), ""});
  if (const toml::table* labels = reader.table("labels")) {
    TomlReader label_reader = reader.reader(*labels, "labels");
    for (const auto& [split, node] : *labels) {
      const auto file = std::find_if(source.files.begin(), source.files.end(),
                                     [&, name = split.str()](const auto& f) { return f.split == name; });
      if (file == source.files.end()) label_reader.fail_at(&node, split.str(), "a split of files", "another name");
      file->labels = label_reader.text(split.str());
    }
  }
  reader.finish();
  return source;
}

}  // namespace

TaskFile parse_task_file(std::string_view text, const std::string& where) {
  toml::table table;
  try {
    table = toml::parse(text, where);
  } catch (const toml::parse_error& error) {
    fail(ErrorCode::kUsage, "{}:{}: expected TOML, got: {}", where, error.source().begin.line, error.description());
  }
  TomlReader reader(table, where);
  TaskFile task{.where = where, .name = reader.text("name")};
  if (task.name.empty() || task.name == "." || task.name == ".." || task.name.find('/') != task.name.npos)
    reader.fail_at(table.get("name"), "name", "a name that a folder may have", task.name.empty() ? "none" : task.name);
  task.about = reader.text("about");
  task.citation = reader.text("citation");
  task.published = reader.text("published");
  task.folder = reader.text("folder");
  task.evaluate = reader.text("evaluate");
  task.shots = reader.optional_text("shots").value_or("");
  task.id = optional_template(reader, "id");
  task.group = optional_template(reader, "group");
  task.skip = optional_template(reader, "skip");
  task.skip_values = reader.texts("skip_values");
  if (task.skip.has_value() == task.skip_values.empty())
    reader.fail_at(nullptr, "skip", "skip and skip_values together", "one of them");

  const toml::node* sources = reader.find("source");
  if (!sources || !sources->is_array_of_tables())
    reader.fail_at(sources, "source", "at least one [[source]]", sources ? "something else" : "no such key");
  for (const toml::node& source : *sources->as_array())
    task.sources.push_back(parse_source(reader.reader(*source.as_table(), "source")));
  for (const std::string& split : {task.evaluate, task.shots}) {
    const auto holds = [&](const TaskSource& source) {
      return std::any_of(source.files.begin(), source.files.end(),
                         [&](const auto& file) { return file.split == split; });
    };
    if (!split.empty() && std::none_of(task.sources.begin(), task.sources.end(), holds))
      reader.fail_at(nullptr, "evaluate and shots", "splits that a source has files for", split);
  }
  // An array keeps the order of derived fields, which a table would lose.
  if (const toml::node* fields = reader.find("field")) {
    if (!fields->is_array_of_tables()) reader.fail_at(fields, "field", "[[field]] tables", TomlReader::kind(*fields));
    for (const toml::node& field : *fields->as_array()) {
      TomlReader field_reader = reader.reader(*field.as_table(), "field");
      const std::string name = field_reader.text("name");
      task.fields.emplace_back(name, Template(field_reader.text("value"), field_reader.place("value")));
      field_reader.finish();
    }
  }
  if (const toml::table* paper = reader.table("paper"))
    task.paper = parse_prompts(reader.reader(*paper, "paper"), Convention::kPaper);
  if (const toml::table* harness = reader.table("harness"))
    task.harness = parse_prompts(reader.reader(*harness, "harness"), Convention::kHarness);
  if (!task.paper && !task.harness) reader.fail_at(nullptr, "paper", "[paper], [harness] or both", "neither");
  reader.finish();
  return task;
}

std::vector<TaskFile> load_tasks(const std::vector<fs::path>& folders) {
  std::vector<TaskFile> tasks;
  for (const auto& [name, text] : builtin_tasks())
    tasks.push_back(parse_task_file(text, fmt::format("built-in {}", name)));
  const size_t built_in = tasks.size();
  for (const fs::path& folder : folders) {
    if (!fs::is_directory(folder))
      fail(ErrorCode::kUsage, "{}: expected a folder of task files, got nothing of this name", folder.string());
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(folder))
      if (entry.path().extension() == ".toml") files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    for (const fs::path& file : files) {
      TaskFile task = parse_task_file(read_file(file), file.string());
      const auto same =
          std::find_if(tasks.begin(), tasks.end(), [&](const TaskFile& t) { return t.name == task.name; });
      if (same == tasks.end()) {
        tasks.push_back(std::move(task));
      } else if (same - tasks.begin() < static_cast<std::ptrdiff_t>(built_in) && same->where.starts_with("built-in")) {
        task.replaces = same->where;
        *same = std::move(task);
      } else {
        fail(ErrorCode::kUsage, "{}: name: expected a name of its own, got {}, which {} has", file.string(), task.name,
             same->where);
      }
    }
  }
  std::sort(tasks.begin(), tasks.end(), [](const TaskFile& a, const TaskFile& b) { return a.name < b.name; });
  return tasks;
}

std::vector<TaskFile> select_tasks(std::vector<TaskFile> tasks, const std::vector<std::string>& names) {
  if (names.size() == 1 && names[0] == "all") return tasks;
  std::vector<TaskFile> selected;
  for (const std::string& name : names) {
    if (name == "all") fail(ErrorCode::kUsage, "--tasks: expected all or names, got both");
    if (std::any_of(selected.begin(), selected.end(), [&](const TaskFile& task) { return task.name == name; }))
      fail(ErrorCode::kUsage, "--tasks: expected each task once, got {} twice", name);
    const auto found =
        std::find_if(tasks.begin(), tasks.end(), [&](const TaskFile& task) { return task.name == name; });
    if (found == tasks.end()) {
      std::vector<std::string> known = {"all"};
      for (const TaskFile& task : tasks) known.push_back(task.name);
      fail(ErrorCode::kUsage,
           "--tasks: expected known tasks, got {} (did you mean {}? `troupe eval tasks --list` shows "
           "them)",
           name, nearest(name, known));
    }
    selected.push_back(*found);
  }
  return selected;
}

}  // namespace troupe
