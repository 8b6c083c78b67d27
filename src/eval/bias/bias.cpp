#include "eval/bias/bias.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "base/error.h"
#include "eval/tasks/prompts.h"
#include "eval/tasks/records.h"
#include "io/checksum.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;

std::string text_field(const nlohmann::json& value, const char* key, const std::string& where) {
  if (!value.is_object() || !value.contains(key))
    fail(ErrorCode::kData, "{}: {}: expected this field, got a record without it", where, key);
  std::string text = scalar_text(value.at(key), where + ": " + key);
  if (text.find_first_not_of(" \t") == text.npos)
    fail(ErrorCode::kData, "{}: {}: expected text, got an empty one", where, key);
  return text;
}

// A record's id is its own: the same pair or item twice would count twice.
void check_id(const std::string& id, const std::string& where, std::unordered_map<std::string, std::string>& places) {
  const auto [first, is_new] = places.emplace(id, where);
  if (!is_new)
    fail(ErrorCode::kData, "{}: id: expected one of its own, got {}, which {} has", where, id, first->second);
}

std::string read_set(const fs::path& path, const char* published) {
  if (!fs::is_regular_file(path))
    fail(ErrorCode::kData, "{}: expected this file, got nothing of this name (published: {})", path.string(),
         published);
  return read_text_file(path);
}

PromptMaker make_prompts(const LanguageModel& model, const Tokenizer& tokenizer, Convention convention) {
  if (model.config().eos_id < 0)
    fail(ErrorCode::kUsage, "bias: expected a model with an end-of-text token (model.eos_id), got none");
  return {tokenizer, convention, static_cast<int32_t>(model.config().eos_id)};
}

// Appends the three candidates of an item, in the order stereotype, anti-stereotype, unrelated.
void add_stereoset_item(const Record& record, bool inter, const PromptMaker& maker,
                        std::vector<ScoreRequest>& requests) {
  constexpr const char* kLabels[] = {"stereotype", "anti-stereotype", "unrelated"};
  const nlohmann::json& value = *record.value;
  if (!value.contains("sentences") || !value.at("sentences").is_array())
    fail(ErrorCode::kData, "{}: sentences: expected a list, got none", record.where);
  std::string candidates[3];
  for (const nlohmann::json& sentence : value.at("sentences")) {
    const std::string label = text_field(sentence, "gold_label", record.where);
    const auto* const found = std::find(std::begin(kLabels), std::end(kLabels), label);
    if (found == std::end(kLabels))
      fail(ErrorCode::kData, "{}: gold_label: expected stereotype, anti-stereotype or unrelated, got {}", record.where,
           label);
    std::string& candidate = candidates[found - std::begin(kLabels)];
    if (!candidate.empty())
      fail(ErrorCode::kData, "{}: sentences: expected one sentence of each label, got two of {}", record.where, label);
    candidate = text_field(sentence, "sentence", record.where);
  }
  for (size_t i = 0; i < 3; ++i) {
    if (candidates[i].empty())
      fail(ErrorCode::kData, "{}: sentences: expected one sentence of each label, got none of {}", record.where,
           kLabels[i]);
    const std::string context = inter ? text_field(value, "context", record.where) : "";
    requests.push_back(maker.request(0, context, " ", candidates[i], record.where));
  }
}

}  // namespace

BiasReport evaluate_stereoset(LanguageModel& model, const Tokenizer& tokenizer, const fs::path& data_dir,
                              const RequestOptions& options, const RequestProgress& progress) {
  const fs::path path = data_dir / "stereoset" / "dev.json";
  const std::string text = read_set(path, "moinnadeem/StereoSet on GitHub, data/dev.json");
  const PromptMaker maker = make_prompts(model, tokenizer, Convention::kPaper);
  BiasReport report{.data_checksum = to_hex(xxh3(text))};
  std::vector<ScoreRequest> requests;
  std::vector<StereoSetScores> scores;
  std::unordered_map<std::string, std::string> places;
  std::vector<size_t> part_ends;
  const char* const parts[] = {"intrasentence", "intersentence"};
  for (const char* part : parts) {
    for (const Record& record :
         parse_records(text, path.string(), {.format = RecordFormat::kJson, .each = std::string("data.") + part})) {
      check_id(text_field(*record.value, "id", record.where), record.where, places);
      add_stereoset_item(record, part == parts[1], maker, requests);
      scores.push_back({.category = text_field(*record.value, "bias_type", record.where),
                        .term = text_field(*record.value, "target", record.where)});
    }
    part_ends.push_back(scores.size());
  }
  const std::vector<ScoreAnswer> answers = score_requests(model, requests, options, report.requests, progress);
  for (size_t i = 0; i < scores.size(); ++i) {
    const auto mean = [&](size_t c) { return answers[3 * i + c].per_token(requests[3 * i + c].continuation.size()); };
    scores[i].stereotype = mean(0), scores[i].anti_stereotype = mean(1), scores[i].unrelated = mean(2);
  }
  for (size_t part = 0, begin = 0; part < 2; begin = part_ends[part++]) {
    if (begin == part_ends[part]) continue;
    const auto figures = stereoset_figures(std::string("stereoset/") + parts[part],
                                           {scores.begin() + static_cast<std::ptrdiff_t>(begin),
                                            scores.begin() + static_cast<std::ptrdiff_t>(part_ends[part])});
    report.figures.insert(report.figures.end(), figures.begin(), figures.end());
  }
  return report;
}

BiasReport evaluate_crows_pairs(LanguageModel& model, const Tokenizer& tokenizer, const fs::path& data_dir,
                                const RequestOptions& options, const RequestProgress& progress) {
  const fs::path path = data_dir / "crows_pairs" / "crows_pairs_anonymized.csv";
  const std::string text = read_set(path, "nyu-mll/crows-pairs on GitHub, data/crows_pairs_anonymized.csv");
  const PromptMaker makers[] = {make_prompts(model, tokenizer, Convention::kPaper),
                                make_prompts(model, tokenizer, Convention::kHarness)};
  BiasReport report{.data_checksum = to_hex(xxh3(text))};
  std::vector<ScoreRequest> requests;  // of each pair: more and less in the paper's form, then in the harness's
  std::vector<CrowsPairsScores> scores;
  std::unordered_map<std::string, std::string> places;
  for (const Record& record : parse_records(text, path.string(), {.format = RecordFormat::kCsv})) {
    if (record.value->contains("")) check_id(record.value->at(""), record.where, places);  // the released row number
    CrowsPairsScores& pair = scores.emplace_back();
    pair.category = text_field(*record.value, "bias_type", record.where);
    for (const PromptMaker& maker : makers)
      for (const char* sentence : {"sent_more", "sent_less"})
        requests.push_back(maker.request(0, "", "", text_field(*record.value, sentence, record.where), record.where));
  }
  const std::vector<ScoreAnswer> answers = score_requests(model, requests, options, report.requests, progress);
  for (size_t i = 0; i < scores.size(); ++i) {
    const size_t first = 4 * i;
    scores[i].more = answers[first].per_token(requests[first].continuation.size());
    scores[i].less = answers[first + 1].per_token(requests[first + 1].continuation.size());
    scores[i].more_sum = answers[first + 2].logprob, scores[i].less_sum = answers[first + 3].logprob;
  }
  report.figures = crows_pairs_figures(scores);
  return report;
}

}  // namespace troupe
