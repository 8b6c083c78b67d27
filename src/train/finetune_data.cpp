#include "train/finetune_data.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "base/error.h"
#include "base/log.h"
#include "base/quantity.h"
#include "data/shards/model_tokenizer.h"
#include "data/tokenizer/definition.h"
#include "eval/eval_text.h"
#include "eval/journal.h"
#include "eval/tasks/prompts.h"
#include "eval/tasks/records.h"
#include "io/atomic_file.h"
#include "io/checksum.h"
#include "io/named_path.h"
#include "model/model_directory.h"
#include "train/chat_template.h"
#include "train/run_tasks.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;

constexpr double kTrainShare = 0.8, kSelectShare = 0.1;  // of a split of one's own; the rest is reported

// Which of `keys` belong to which part: equal keys to one; parts in the order of hashes, none of them empty.
std::vector<size_t> parts_of(const std::vector<std::string>& keys, const std::vector<double>& shares,
                             const std::string& where) {
  std::set<std::pair<uint64_t, std::string>> different;
  for (const std::string& key : keys) different.emplace(xxh3(key), key);
  const size_t n = different.size(), parts = shares.size();
  if (n < parts) fail(ErrorCode::kData, "{}: expected at least {} different items to divide, got {}", where, parts, n);
  std::map<std::string, size_t> part_of;
  size_t at = 0, begin = 0;
  auto next = different.begin();
  for (size_t part = 0; part < parts; ++part) {
    const auto wanted = static_cast<size_t>(shares[part] * static_cast<double>(n) + 0.5);
    const size_t left_for_others = parts - 1 - part;
    const size_t end = left_for_others == 0 ? n : std::clamp(begin + wanted, begin + 1, n - left_for_others);
    for (; at < end; ++at, ++next) part_of.emplace(next->second, part);
    begin = end;
  }
  std::vector<size_t> result;
  for (const std::string& key : keys) result.push_back(part_of.at(key));
  return result;
}

TaskData load_items(TaskFile task, const std::string& split, const FinetuneConfig& config) {
  task.evaluate = split;
  return load_task_data(task, {.data_dir = config.data_dir, .convention = Convention::kPaper});
}

template <class T>
void limit(std::vector<T>& list, int64_t most) {
  if (most > 0 && static_cast<int64_t>(list.size()) > most) list.resize(static_cast<size_t>(most));
}

TaskFile lowest_loss(TaskFile task) {
  if (task.paper->score == PaperScore::kUnconditional || task.paper->score == PaperScore::kAverageOption)
    task.paper->score = PaperScore::kSum;
  return task;
}

TrainingText of_item(const PromptMaker& maker, const TaskFile& task, const Item& item, int64_t context,
                     int64_t& shortened) {
  const std::vector<ScoreRequest> requests = maker.requests(0, *task.paper, item);
  const ScoreRequest& right = requests[static_cast<size_t>(item.gold.empty() ? 0 : item.gold.front())];
  shortened += static_cast<int64_t>(right.context.size() + right.continuation.size()) - 1 > context;
  return text_of(right.context, right.continuation, context);
}

FinetuneSource of_task(const TaskFile& task, const FinetuneConfig& config, const FinetuneModel& model) {
  FinetuneSource source{.name = task.name, .key = "finetune.tasks", .task = load_task_splits(task, config)};
  const TaskSplits& splits = *source.task;
  source.train_split = splits.train.name;
  source.checksum = splits.train.data.checksum;
  const PromptMaker maker(model.tokenizer, Convention::kPaper, static_cast<int32_t>(model.config.eos_id));
  for (const Item& item : splits.train.data.items)
    source.train.push_back(of_item(maker, splits.tuned, item, model.config.context, source.shortened));
  return source;
}

// A tenth is held out.
void divide(FinetuneSource& source, const std::vector<std::string>& keys, std::vector<std::vector<TrainingText>> texts,
            const FinetuneConfig& config) {
  const std::vector<size_t> parts = parts_of(keys, {1.0 - kSelectShare, kSelectShare}, source.name);
  for (size_t i = 0; i < texts.size(); ++i) {
    std::vector<TrainingText>& to = parts[i] == 0 ? source.train : source.held_out;
    std::move(texts[i].begin(), texts[i].end(), std::back_inserter(to));
  }
  limit(source.train, config.train_limit), limit(source.held_out, config.eval_limit);
  source.train_split = "train";
  std::string all;
  for (const std::string& key : keys) all += to_hex(xxh3(key));
  source.checksum = to_hex(xxh3(all));
}

FinetuneSource of_text(const NamedPath& entry, const FinetuneConfig& config, const FinetuneModel& model) {
  FinetuneSource source{.name = entry.name, .key = "finetune.text"};
  TextStats stats;
  const auto end_of_text = static_cast<int32_t>(model.config.eos_id);
  std::vector<std::string> keys;
  std::vector<std::vector<TrainingText>> texts;
  for (const EvalText& text :
       read_eval_text(entry.name, {entry.path}, model.tokenizer, {.end_of_text = end_of_text}, stats))
    for (size_t d = 0; d + 1 < text.begin.size(); ++d) {
      std::vector<int32_t> ids = {end_of_text};
      ids.insert(ids.end(), text.ids.begin() + text.begin[d], text.ids.begin() + text.begin[d + 1]);
      keys.emplace_back(reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(int32_t));
      texts.push_back(pieces_of(ids, model.config.context));
    }
  divide(source, keys, std::move(texts), config);
  return source;
}

const std::string& text_in(const nlohmann::json& object, const char* key, const std::string& where) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_string())
    fail(ErrorCode::kData, "{}: {}: expected a text, got {}", where, key,
         found == object.end() ? "none" : found->type_name());
  return found->get_ref<const std::string&>();
}

std::vector<ChatPart> prompt_and_completion(const Record& record) {
  const nlohmann::json& object = *record.value;
  std::vector<ChatPart> parts = {{text_in(object, "prompt", record.where), false},
                                 {text_in(object, "completion", record.where), true}};
  if (parts[1].text.empty()) fail(ErrorCode::kData, "{}: completion: expected text, got an empty one", record.where);
  return parts;
}

std::vector<ChatMessage> messages_of(const Record& record) {
  std::vector<ChatMessage> found;
  const nlohmann::json& messages = (*record.value)["messages"];
  if (!messages.is_array() || messages.empty())
    fail(ErrorCode::kData, "{}: messages: expected a list of messages, got {}", record.where, messages.type_name());
  for (const nlohmann::json& message : messages) {
    if (!message.is_object())
      fail(ErrorCode::kData, "{}: messages: expected objects, got {}", record.where, message.type_name());
    found.push_back({text_in(message, "role", record.where), text_in(message, "content", record.where)});
  }
  if (std::ranges::none_of(found, [](const ChatMessage& message) { return message.role == "assistant"; }))
    fail(ErrorCode::kData, "{}: messages: expected one of the role assistant, got none", record.where);
  return found;
}

// A conversation is one text, so its tokens are those of the whole; one that lies on both sides of where an answer begins
// is part of the answer.
TrainingText of_conversation(const std::vector<ChatPart>& parts, const Tokenizer& tokenizer) {
  TrainingText text;
  std::string whole;
  for (const ChatPart& part : parts) whole += part.text;
  text.ids = tokenizer.encode(whole);
  text.scored.assign(text.ids.size(), 0);
  std::string before;
  size_t begin = 0;
  for (const ChatPart& part : parts) {
    before += part.text;
    const std::vector<int32_t> ids = tokenizer.encode(before);
    const auto end = static_cast<size_t>(std::ranges::mismatch(ids, text.ids).in1 - ids.begin());
    for (; begin < end; ++begin) text.scored[begin] = part.counts;
  }
  if (!text.scored.empty()) text.scored.front() = 0;
  return text;
}

FinetuneSource of_answers(const NamedPath& entry, const FinetuneConfig& config, const FinetuneModel& model) {
  FinetuneSource source{.name = entry.name, .key = "finetune.answers"};
  const auto end_of_text = static_cast<int32_t>(model.config.eos_id);
  std::optional<ChatTemplate> chat;
  std::vector<std::string> keys;
  std::vector<std::vector<TrainingText>> texts;
  for (const Record& record : parse_records(read_text_file(entry.path), entry.path, {})) {
    TrainingText text{.ids = {end_of_text}, .scored = {0}};
    std::string key;
    std::vector<ChatPart> parts;
    if (record.value->contains("messages")) {
      if (!chat) chat.emplace(model.tokenizer.definition().config, record.where, model.folder.string());
      parts = chat->parts(messages_of(record), record.where);
      text = of_conversation(parts, model.tokenizer);
    } else {
      parts = prompt_and_completion(record);
      for (const ChatPart& part : parts) {
        model.tokenizer.encode(part.text, text.ids, Tokenizer::AddedTokens::kAsText);
        text.scored.resize(text.ids.size(), part.counts);
      }
      text.ids.push_back(end_of_text), text.scored.push_back(1);  // the answer ends
    }
    for (const ChatPart& part : parts) key += part.text + '\0';
    source.shortened += text.shorten(model.config.context);
    if (text.num_scored() == 0) fail(ErrorCode::kData, "{}: expected an answer of some tokens, got none", record.where);
    keys.push_back(std::move(key));
    texts.push_back({std::move(text)});
  }
  divide(source, keys, std::move(texts), config);
  return source;
}

void set_weights(std::vector<FinetuneSource>& sources, const FinetuneConfig& config, const std::string& where) {
  if (config.weights.empty()) return;
  const std::string key = where + ": finetune.weights";
  std::map<std::string, double> weights = read_weights(config.weights, key);
  for (FinetuneSource& source : sources) {
    const auto weight = weights.extract(source.name);
    if (!weight)
      fail(ErrorCode::kUsage, "{}: expected a share of everything that is learnt or of nothing, got none of {}", key,
           source.name);
    source.weight = weight.mapped();
  }
  if (!weights.empty())
    fail(ErrorCode::kUsage, "{}: expected names of tasks, text and answers, got {}", key, weights.begin()->first);
}

}  // namespace

TaskSplits load_task_splits(const TaskFile& task, const FinetuneConfig& config) {
  if (!task.paper)
    fail(ErrorCode::kUsage, "{}: expected prompts of the paper convention ([paper]), got a task file without them",
         task.name);
  TaskSplits splits{.zero_shot = task, .tuned = lowest_loss(task)};
  const auto files = [&](const std::string& split) { return find_split(task, config.data_dir, split).records; };
  const std::vector<fs::path> evaluated = files(task.evaluate);
  splits.test = {task.evaluate, load_items(task, task.evaluate, config)};
  const bool has_training = !task.shots.empty() && !files(task.shots).empty() && files(task.shots) != evaluated;
  if (has_training) {
    splits.train = {task.shots, load_items(task, task.shots, config)};
    const std::string validation = "validation";
    const std::vector<fs::path> selected = files(validation);
    const bool apart = task.evaluate != validation && task.shots != validation && !selected.empty() &&
                       selected != evaluated && selected != files(task.shots);
    splits.select = apart ? TaskSplits::Split{validation, load_items(task, validation, config)} : splits.test;
  } else {
    const TaskData all = std::move(splits.test.data);
    std::vector<std::string> keys;
    for (const Item& item : all.items) keys.push_back(item.contexts.front());
    const std::vector<size_t> parts =
        parts_of(keys, {kTrainShare, kSelectShare, 1.0 - kTrainShare - kSelectShare}, task.name + ": " + task.evaluate);
    TaskSplits::Split* const to[] = {&splits.train, &splits.select, &splits.test};
    const char* const names[] = {"train", "select", "test"};
    for (size_t part = 0; part < 3; ++part) {
      *to[part] = {task.evaluate + ":" + names[part], all};
      to[part]->data.items.clear();
    }
    for (size_t i = 0; i < all.items.size(); ++i) to[parts[i]]->data.items.push_back(all.items[i]);
  }
  limit(splits.train.data.items, config.train_limit);
  limit(splits.select.data.items, config.eval_limit), limit(splits.test.data.items, config.eval_limit);
  return splits;
}

FinetuneModel load_finetune_model(const FinetuneConfig& config, const std::string& where) {
  const fs::path folder = find_model(config.model);
  const ModelConfig model_config = read_model_config(folder);
  FinetuneModel model{.folder = folder,
                      .checksum = model_checksum(folder),
                      .config = model_config,
                      .tokenizer = load_model_tokenizer({}, folder, model_config).tokenizer,
                      .teacher = {}};
  if (config.teacher.empty()) return model;
  const fs::path of_teacher = find_model(config.teacher);
  const ModelConfig teacher = read_model_config(of_teacher);
  const auto same = [&](const char* what, int64_t expected, int64_t got) {
    if (got != expected)
      fail(ErrorCode::kUsage, "{}: finetune.teacher: expected {} {} as {} has, got {}", where, what, expected, config.model,
           got);
  };
  same("a vocabulary of", model_config.vocab_size, teacher.vocab_size);
  same("an end-of-text token of", model_config.eos_id, teacher.eos_id);
  same("a padding id of", model_config.pad_id, teacher.pad_id);
  if (teacher.context < model_config.context)
    fail(ErrorCode::kUsage, "{}: finetune.teacher: expected a context of at least {}, as {} has, got {}", where,
         model_config.context, config.model, teacher.context);
  static_cast<void>(load_model_tokenizer({.path = of_teacher.string()}, folder, model_config));
  model.teacher = {of_teacher, model_checksum(of_teacher)};
  return model;
}

std::vector<FinetuneSource> load_finetune_sources(const FinetuneConfig& config, const FinetuneModel& model,
                                                  const std::string& where) {
  std::vector<FinetuneSource> sources;
  const std::vector<TaskFile> built_in = load_tasks();
  for (const std::string& name : config.tasks)
    sources.push_back(of_task(find_task(name, built_in, where + ": finetune.tasks"), config, model));
  for (const NamedPath& entry : parse_named_paths(config.text, where + ": finetune.text"))
    sources.push_back(of_text(entry, config, model));
  for (const NamedPath& entry : parse_named_paths(config.answers, where + ": finetune.answers"))
    sources.push_back(of_answers(entry, config, model));
  std::set<std::string> names;
  for (const FinetuneSource& source : sources) {
    if (!names.insert(source.name).second)
      fail(ErrorCode::kUsage, "{}: finetune: expected each name once among tasks, text and answers, got {} twice",
           where, source.name);
    if (source.train.empty()) fail(ErrorCode::kData, "{}: expected something to train on, got nothing", source.name);
    if (source.shortened > 0)
      log::warning("{}: {} longer than the model's context of {} lost tokens on the left", source.name,
                   counted(source.shortened, "prompt"), model.config.context);
  }
  set_weights(sources, config, where);
  return sources;
}

}  // namespace troupe
