#include "eval/data_sets.h"

#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "data/fairseq/indexed_dataset.h"
#include "io/named_path.h"

namespace troupe {

namespace fs = std::filesystem;
namespace {

std::string without_text_extensions(std::string name) {
  for (const std::vector<std::string_view>& extensions :
       {std::vector<std::string_view>{".zst", ".gz"}, {".txt", ".jsonl", ".ndjson", ".bin", ".idx"}})
    for (const std::string_view extension : extensions)
      if (name.size() > extension.size() && name.ends_with(extension)) {
        name.resize(name.size() - extension.size());
        break;
      }
  return name;
}

bool is_shards(const std::string& path) { return fs::is_regular_file(fs::path(path) / "index.json"); }

}  // namespace

std::vector<DataSet> parse_data_sets(const std::vector<std::string>& arguments) {
  std::vector<DataSet> sets;
  for (const std::string& argument : arguments) {
    NamedPath entry = parse_named_path(argument, "--data", [](const std::string& path) {
      std::error_code error;
      return fs::exists(path, error) || is_fairseq_binary(path);
    });
    if (!entry.given) entry.name = without_text_extensions(entry.name);
    const auto same =
        std::find_if(sets.begin(), sets.end(), [&](const DataSet& set) { return set.name == entry.name; });
    if (same == sets.end()) {
      sets.push_back({entry.name, entry.given, {entry.path}});
      continue;
    }
    if (!same->given || !entry.given)
      fail(ErrorCode::kUsage,
           "--data: expected names that differ, got {} for {} and {} (write NAME=PATH; given twice it is one data set)",
           entry.name, same->paths.front(), entry.path);
    const auto is_entry = [&](const std::string& path) {
      return fs::weakly_canonical(path) == fs::weakly_canonical(entry.path);
    };
    if (std::any_of(same->paths.begin(), same->paths.end(), is_entry))
      fail(ErrorCode::kUsage, "--data: {}: expected each file once, got {} twice", entry.name, entry.path);
    same->paths.push_back(entry.path);
  }
  return sets;
}

DataSetReader::DataSetReader(TokenizerChoice tokenizer, EvalTextOptions options, fs::path model, ModelConfig config)
    : choice_(std::move(tokenizer)),
      options_(std::move(options)),
      model_(std::move(model)),
      config_(std::move(config)) {
  options_.end_of_text = static_cast<int32_t>(config_.eos_id);
}

std::vector<SetText> DataSetReader::read(const DataSet& set) {
  const auto is_ids = [](const std::string& path) { return is_shards(path) || is_fairseq_binary(path); };
  if (std::none_of(set.paths.begin(), set.paths.end(), is_ids)) return read_text(set);
  const std::string& path = set.paths.front();
  if (!options_.text.meta_field.empty())
    fail(ErrorCode::kUsage, "--by-field: expected JSON lines, got token ids, {}", path);
  if (set.paths.size() > 1)
    fail(ErrorCode::kUsage, "--data: {}: expected one folder of shards or one pair of fairseq files, got {} paths",
         set.name, set.paths.size());
  if (is_shards(path)) {
    const TokenDataset shards(path);
    return {{read_eval_shards(set.name, shards, options_.end_of_text), match_shards(choice_, model_, config_, shards)}};
  }
  log::info("{}: names no tokenizer: whether its ids are those of the model's is not known", path);
  return {{read_eval_fairseq(set.name, path, options_.end_of_text), TokenizerMatch::kUnknown}};
}

std::vector<SetText> DataSetReader::read_text(const DataSet& set) {
  if (!tokenizer_) tokenizer_.emplace(load_model_tokenizer(choice_, model_, config_));
  TextStats stats;
  std::vector<EvalText> texts = read_eval_text(set.name, set.paths, tokenizer_->tokenizer, options_, stats);
  log::info("{}: {}", set.name, stats.report());
  const int64_t skipped = stats.total_skipped() - stats.skip(SkipReason::kEmpty).count;
  std::vector<SetText> read;
  for (EvalText& text : texts) read.push_back({std::move(text), tokenizer_->match, skipped});
  return read;
}

}  // namespace troupe
