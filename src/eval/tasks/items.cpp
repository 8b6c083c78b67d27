#include "eval/tasks/items.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/checksum.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;

// Runs `action`; a failure gets the record's place and the key in front.
template <class Action>
auto at(const Record& record, std::string_view key, const Action& action) {
  try {
    return action();
  } catch (const Error& error) {
    fail(error.code(), "{}: {}: {}", record.where, key, error.what());
  }
}

std::vector<fs::path> matching(const fs::path& folder, const std::string& name) {
  const size_t star = name.find('*');
  if (star == name.npos) {
    const fs::path path = find_text_file(folder / name);
    return path.empty() ? std::vector<fs::path>() : std::vector{path};
  }
  std::vector<fs::path> paths;
  std::error_code error;
  if (!fs::is_directory(folder, error)) return paths;
  const std::string head = name.substr(0, star), tail = name.substr(star + 1);
  fs::directory_iterator entries(folder, error);
  if (error) fail(ErrorCode::kData, "{}: cannot list this folder: {}", folder.string(), error.message());
  for (const auto& entry : entries) {
    std::string file = entry.path().filename().string();
    for (const char* extension : {".zst", ".gz"})
      if (!tail.ends_with(extension) && file.ends_with(extension))
        file.resize(file.size() - std::string(extension).size());
    if (file.size() >= head.size() + tail.size() && file.starts_with(head) && file.ends_with(tail))
      paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

using Fields = Template::Fields;

// One template may give a list.
std::vector<std::string> all_texts(const std::vector<Template>& templates, const nlohmann::json& value,
                                   Fields fields = Fields::kText) {
  if (templates.size() == 1) return templates[0].texts(value, fields);
  std::vector<std::string> texts;
  for (const Template& each : templates) texts.push_back(each.text(value, fields));
  return texts;
}

std::string joined(const std::vector<std::string>& texts) {
  std::string all;
  for (const std::string& text : texts) all += (all.empty() ? "" : ", ") + (is_blank(text) ? "\"" + text + "\"" : text);
  return all;
}

std::vector<std::string> labels_of(const PromptSpec& spec, const Item& item, const Record& record) {
  std::vector<std::string> labels =
      at(record, "labels", [&] { return all_texts(spec.labels, *record.value, Fields::kName); });
  if (labels.empty())
    for (size_t i = 0; i < item.candidates(); ++i) labels.push_back(std::to_string(i));
  if (labels.size() != item.candidates())
    fail(ErrorCode::kData, "{}: labels: expected one per candidate ({}), got {}", record.where, item.candidates(),
         labels.size());
  for (size_t i = 0; i < labels.size(); ++i) {
    if (is_blank(labels[i])) fail(ErrorCode::kData, "{}: labels[{}]: expected text, got an empty one", record.where, i);
    if (std::find(labels.begin() + static_cast<std::ptrdiff_t>(i) + 1, labels.end(), labels[i]) != labels.end())
      fail(ErrorCode::kData, "{}: labels: expected each once, got {} twice", record.where, labels[i]);
  }
  return labels;
}

std::vector<int> gold_of(const PromptSpec& spec, const std::vector<std::string>& labels, const Record& record) {
  const std::vector<std::string> given = at(record, "label", [&] {
    return spec.several ? spec.label->texts(*record.value, Fields::kName)
                        : std::vector{spec.label->text(*record.value, Fields::kName)};
  });
  std::vector<int> gold;
  for (size_t i = 0; i < labels.size(); ++i)
    if (std::find(given.begin(), given.end(), labels[i]) != given.end()) gold.push_back(static_cast<int>(i));
  if (gold.empty())
    fail(ErrorCode::kData, "{}: label: expected one of {}, got {}",
         record.label_where.empty() ? record.where : record.label_where, joined(labels),
         given.empty() ? "none" : joined(given));
  return gold;
}

bool chooses(const PromptSpec& spec) {
  return std::any_of(spec.metrics.begin(), spec.metrics.end(),
                     [](Metric metric) { return metric != Metric::kGreedy && metric != Metric::kPerplexity; });
}

}  // namespace

SplitFiles find_split(const TaskFile& task, const fs::path& data_dir, const std::string& split) {
  for (const TaskSource& source : task.sources)
    for (const TaskSource::File& file : source.files) {
      if (file.split != split) continue;
      SplitFiles found{.source = &source, .records = matching(data_dir / task.folder, file.name)};
      if (found.records.empty()) continue;
      if (file.labels.empty()) return found;
      found.labels = find_text_file(data_dir / task.folder / file.labels);
      if (!found.labels.empty()) return found;
    }
  return {};
}

SplitRecords load_split(const TaskFile& task, const fs::path& data_dir, const std::string& split) {
  const SplitFiles files = find_split(task, data_dir, split);
  if (!files.source) {
    std::vector<std::string> wanted;
    for (const TaskSource& source : task.sources)
      for (const TaskSource::File& file : source.files)
        if (file.split == split) wanted.push_back(file.labels.empty() ? file.name : file.name + " with " + file.labels);
    std::string all;
    for (const std::string& name : wanted) all += (all.empty() ? "" : " or ") + name;
    fail(ErrorCode::kData, "{}: {}: expected {} in {}, got no such file (published: {})", task.name, split, all,
         (data_dir / task.folder).string(), task.published);
  }
  SplitRecords result;
  std::string sums;
  for (const fs::path& path : files.records) {
    const std::string text = read_text_file(path);
    std::vector<Record> records = parse_records(text, path.string(), files.source->options);
    if (!files.labels.empty()) {
      const std::string labels = read_text_file(files.labels);
      add_labels(labels, files.labels.string(), records);
      sums += files.labels.filename().string() + to_hex(xxh3(labels));
      result.files.push_back(files.labels);
    }
    result.files.push_back(path);
    fs::path name = path.filename();
    if (name.extension() == ".zst" || name.extension() == ".gz") name.replace_extension();
    sums += name.string() + to_hex(xxh3(text));
    std::move(records.begin(), records.end(), std::back_inserter(result.records));
  }
  result.checksum = to_hex(xxh3(sums));

  const std::optional<Template>& id_template = files.source->id ? files.source->id : task.id;
  RecordIds ids;
  std::vector<Record> kept;
  for (Record& record : result.records) {
    for (const auto& [name, value] : task.fields)
      at(record, name,
         [&, &name = name, &value = value] { return (*record.value)[name] = value.value(*record.value); });
    if (id_template)
      ids.add(at(record, "id", [&] { return id_template->text(*record.value, Fields::kName); }), record.where);
    const bool skipped =
        task.skip && std::find(task.skip_values.begin(), task.skip_values.end(), at(record, "skip", [&] {
                                 return task.skip->text(*record.value, Fields::kName);
                               })) != task.skip_values.end();
    if (skipped)
      ++result.skipped;
    else
      kept.push_back(std::move(record));
  }
  result.records = std::move(kept);
  if (result.records.empty())
    fail(ErrorCode::kData, "{}: expected at least one record that the task's rule keeps, got none",
         files.records.front().string());
  return result;
}

Item make_item(const TaskFile& task, const PromptSpec& spec, const Record& record) {
  const nlohmann::json& value = *record.value;
  Item item{.where = record.where};
  for (const Template& context : spec.contexts)
    item.contexts.push_back(at(record, "context", [&] { return context.text(value, Fields::kFilled); }));
  item.choices = at(record, "choices", [&] { return all_texts(spec.choices, value); });
  for (size_t i = 0; i < item.choices.size(); ++i)
    if (is_blank(item.choices[i]))
      fail(ErrorCode::kData, "{}: choices[{}]: expected text, got an empty choice", record.where, i);
  if (item.contexts.size() > 1 && item.choices.size() > 1)
    fail(ErrorCode::kData, "{}: choices: expected one, the same after each context, got {}", record.where,
         item.choices.size());
  if (item.choices.empty() || (chooses(spec) && item.candidates() < 2))
    fail(ErrorCode::kData, "{}: choices: expected at least two, got {}", record.where, item.candidates());
  if (spec.label) {
    item.labels = labels_of(spec, item, record);
    item.gold = gold_of(spec, item.labels, record);
  } else if (chooses(spec)) {
    item.gold = {0};  // the first candidate is the right one: minimal pairs
  }
  item.answers = at(record, "answers", [&] { return all_texts(spec.answers, value); });
  if (std::any_of(item.answers.begin(), item.answers.end(), is_blank))
    fail(ErrorCode::kData, "{}: answers: expected texts, got an empty one", record.where);
  if (spec.score == PaperScore::kUnconditional) {
    item.calibrations = at(record, "calibration", [&] { return std::vector{spec.calibration[0].text(value)}; });
  } else if (spec.score == PaperScore::kAverageOption) {
    for (const std::string& choice : item.choices) {
      nlohmann::json with_option = value;
      with_option["option"] = choice;
      item.calibrations.push_back(at(record, "calibration", [&] { return spec.calibration[0].text(with_option); }));
    }
  }
  if (task.group) {
    item.group = at(record, "group", [&] { return task.group->text(value, Fields::kName); });
    if (is_blank(item.group)) fail(ErrorCode::kData, "{}: group: expected text, got an empty one", record.where);
  }
  return item;
}

}  // namespace troupe
