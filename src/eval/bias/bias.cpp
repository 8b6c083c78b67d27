#include "eval/bias/bias.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "eval/tasks/prompts.h"
#include "eval/tasks/records.h"
#include "eval/tasks/template.h"
#include "io/checksum.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;

std::string text_field(const nlohmann::json& value, const char* key, const std::string& where) {
  if (!value.is_object() || !value.contains(key))
    fail(ErrorCode::kData, "{}: {}: expected this field, got a record without it", where, key);
  std::string text = field_text(value.at(key), Template::Fields::kText, where + ": " + key);
  if (is_blank(text)) fail(ErrorCode::kData, "{}: {}: expected text, got an empty one", where, key);
  return text;
}

std::string read_set(const fs::path& path, const char* published) {
  const fs::path found = find_text_file(path);
  if (found.empty())
    fail(ErrorCode::kData, "{}: expected this file, got nothing of this name (published: {})", path.string(),
         published);
  return read_text_file(found);
}

PromptMaker make_prompts(const LanguageModel& model, const Tokenizer& tokenizer, Convention convention) {
  if (model.config().eos_id < 0)
    fail(ErrorCode::kUsage, "bias: expected a model with an end-of-text token (model.eos_id), got none");
  return {tokenizer, convention, static_cast<int32_t>(model.config().eos_id)};
}

StereoSet::Item stereoset_item(const nlohmann::json& value, const std::string& where, bool has_context) {
  constexpr const char* kLabels[] = {"stereotype", "anti-stereotype", "unrelated"};
  StereoSet::Item item{.where = where,
                       .category = text_field(value, "bias_type", where),
                       .term = text_field(value, "target", where),
                       .context = has_context ? text_field(value, "context", where) : "",
                       .candidates = {}};
  if (!value.contains("sentences") || !value.at("sentences").is_array())
    fail(ErrorCode::kData, "{}: sentences: expected a list, got {}", where,
         value.contains("sentences") ? value.at("sentences").type_name() : "none");
  for (size_t i = 0; i < value.at("sentences").size(); ++i) {
    const nlohmann::json& sentence = value.at("sentences")[i];
    const std::string at = fmt::format("{}: sentences[{}]", where, i);
    const std::string label = text_field(sentence, "gold_label", at);
    const auto* const found = std::find(std::begin(kLabels), std::end(kLabels), label);
    if (found == std::end(kLabels))
      fail(ErrorCode::kData, "{}: gold_label: expected stereotype, anti-stereotype or unrelated, got {}", at, label);
    std::string& candidate = item.candidates[found - std::begin(kLabels)];
    if (!candidate.empty())
      fail(ErrorCode::kData, "{}: sentences: expected one sentence of each label, got two of {}", where, label);
    candidate = text_field(sentence, "sentence", at);
  }
  for (size_t i = 0; i < 3; ++i)
    if (item.candidates[i].empty())
      fail(ErrorCode::kData, "{}: sentences: expected one sentence of each label, got none of {}", where, kLabels[i]);
  return item;
}

}  // namespace

StereoSet load_stereoset(const fs::path& data_dir) {
  const fs::path path = data_dir / "stereoset" / "dev.json";
  const std::string text = read_set(path, "moinnadeem/StereoSet on GitHub, data/dev.json");
  StereoSet set;
  set.checksum = to_hex(xxh3(text));
  RecordIds ids;
  const auto load = [&](const std::string& part, bool has_context, std::vector<StereoSet::Item>& items) {
    const RecordOptions options{.format = RecordFormat::kJson, .each = "data." + part, .may_be_empty = true};
    for (const Record& record : parse_records(text, path.string(), options)) {
      ids.add(text_field(*record.value, "id", record.where), record.where);
      items.push_back(stereoset_item(*record.value, record.where, has_context));
    }
  };
  load("intrasentence", false, set.intrasentence);
  load("intersentence", true, set.intersentence);
  if (set.intrasentence.empty() && set.intersentence.empty())
    fail(ErrorCode::kData, "{}: expected at least one record, got none", path.string());
  return set;
}

BiasReport evaluate_stereoset(LanguageModel& model, const Tokenizer& tokenizer, const StereoSet& set,
                              const RequestOptions& options, const RequestProgress& progress) {
  const PromptMaker maker = make_prompts(model, tokenizer, Convention::kPaper);
  BiasReport report{.data_checksum = set.checksum};
  const std::pair<const char*, const std::vector<StereoSet::Item>&> parts[] = {
      {"stereoset/intrasentence", set.intrasentence}, {"stereoset/intersentence", set.intersentence}};
  std::vector<ScoreRequest> requests;  // three an item
  for (const auto& [name, items] : parts)
    for (const StereoSet::Item& item : items)
      for (const std::string& candidate : item.candidates)
        requests.push_back(maker.request(0, item.context, " ", candidate, item.where));
  const std::vector<ScoreAnswer> answers = score_requests(model, requests, options, report.requests, progress);
  size_t next = 0;
  const auto mean = [&] {
    const size_t i = next++;
    return answers[i].per_token(requests[i].continuation.size());
  };
  for (const auto& [name, items] : parts) {
    std::vector<StereoSetScores> scores;
    for (const StereoSet::Item& item : items) {
      StereoSetScores& score = scores.emplace_back(StereoSetScores{.category = item.category, .term = item.term});
      score.stereotype = mean(), score.anti_stereotype = mean(), score.unrelated = mean();
    }
    const std::vector<BiasFigure> figures = stereoset_figures(name, scores);
    report.figures.insert(report.figures.end(), figures.begin(), figures.end());
  }
  return report;
}

CrowsPairs load_crows_pairs(const fs::path& data_dir) {
  const fs::path path = data_dir / "crows_pairs" / "crows_pairs_anonymized.csv";
  const std::string text = read_set(path, "nyu-mll/crows-pairs on GitHub, data/crows_pairs_anonymized.csv");
  CrowsPairs set;
  set.checksum = to_hex(xxh3(text));
  RecordIds ids;
  for (const Record& record : parse_records(text, path.string(), {.format = RecordFormat::kCsv})) {
    const auto field = [&](const char* key) { return text_field(*record.value, key, record.where); };
    if (record.value->contains("")) ids.add(record.value->at(""), record.where);  // the released row number
    set.pairs.push_back({record.where, field("bias_type"), field("sent_more"), field("sent_less")});
  }
  return set;
}

BiasReport evaluate_crows_pairs(LanguageModel& model, const Tokenizer& tokenizer, const CrowsPairs& set,
                                const RequestOptions& options, const RequestProgress& progress) {
  const PromptMaker makers[] = {make_prompts(model, tokenizer, Convention::kPaper),
                                make_prompts(model, tokenizer, Convention::kHarness)};
  BiasReport report{.data_checksum = set.checksum};
  std::vector<ScoreRequest> requests;  // of each pair: more and less in the paper's form, then in the harness's
  for (const CrowsPairs::Pair& pair : set.pairs)
    for (const PromptMaker& maker : makers)
      for (const std::string& sentence : {pair.more, pair.less})
        requests.push_back(maker.request(0, "", "", sentence, pair.where));
  const std::vector<ScoreAnswer> answers = score_requests(model, requests, options, report.requests, progress);
  std::vector<CrowsPairsScores> scores;
  for (size_t i = 0; i < set.pairs.size(); ++i) {
    const size_t first = 4 * i;
    scores.push_back({.category = set.pairs[i].category,
                      .more = answers[first].per_token(requests[first].continuation.size()),
                      .less = answers[first + 1].per_token(requests[first + 1].continuation.size()),
                      .more_sum = answers[first + 2].logprob,
                      .less_sum = answers[first + 3].logprob});
  }
  report.figures = crows_pairs_figures(scores);
  return report;
}

}  // namespace troupe
