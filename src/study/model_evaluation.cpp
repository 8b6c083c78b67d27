#include "study/model_evaluation.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "data/shards/dataset.h"
#include "data/shards/tokenizer_identity.h"
#include "eval/journal.h"
#include "infer/continue_text.h"
#include "io/checksum.h"
#include "io/json_file.h"
#include "io/json_text.h"
#include "model/model_directory.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// Everything the results depend on; a cache made from anything else is not used.
Json made_from(const fs::path& model_folder, const StudyConfig& config, const StudyData& data) {
  Json sources = {{"model", model_checksum(model_folder)},
                  {"valid_tokens", config.valid_tokens},
                  {"prompts", config.prompts},
                  {"sample_tokens", config.sample_tokens},
                  {"sample_temperature", config.sample_temperature},
                  {"seed", config.seed}};
  for (const StudyDomain& domain : data.evaluation)
    sources[domain.held_out ? "held_out" : "data"][domain.name] = TokenDataset(domain.dataset).checksum();
  return sources;
}

Json to_json(const ModelEvaluation& evaluation, const Json& sources) {
  Json json = {{"schema", "troupe.study.evaluation/1"}, {"made_from", sources}, {"domains", Json::array()}};
  for (const DomainResult& domain : evaluation.domains) {
    Json documents = Json::array();
    for (const DocumentScore& score : domain.documents)
      documents.push_back(Json::array({score.nll, score.tokens, score.bytes}));
    json["domains"].push_back({{"domain", domain.domain},
                               {"held_out", domain.held_out},
                               {"nll_sum", domain.sum.nll},
                               {"tokens", domain.sum.tokens},
                               {"choices", domain.sum.choices},
                               {"dropped", domain.sum.dropped},
                               {"bytes", domain.bytes},
                               {"standard_error", domain.standard_error},
                               {"load", domain.load_LE},
                               {"documents", std::move(documents)}});
  }
  json["samples"] = Json::array();
  for (const TextSample& sample : evaluation.samples)
    json["samples"].push_back({{"prompt", sample.prompt}, {"text", sample.text}});
  return json;
}

ModelEvaluation from_json(const nlohmann::json& json, const std::string& where) {
  ModelEvaluation evaluation;
  try {
    for (const auto& item : json.at("domains")) {
      DomainResult& domain = evaluation.domains.emplace_back();
      domain.domain = item.at("domain"), domain.held_out = item.at("held_out");
      domain.sum.nll = number_or_nan(item.at("nll_sum")), domain.sum.tokens = item.at("tokens");
      domain.sum.choices = item.at("choices"), domain.sum.dropped = item.at("dropped");
      domain.bytes = item.at("bytes"), domain.standard_error = number_or_nan(item.at("standard_error"));
      domain.load_LE = item.at("load").get<std::vector<std::vector<int64_t>>>();
      for (const auto& score : item.at("documents"))
        domain.documents.push_back({number_or_nan(score.at(0)), score.at(1), score.at(2)});
    }
    for (const auto& item : json.at("samples")) evaluation.samples.push_back({item.at("prompt"), item.at("text")});
  } catch (const nlohmann::json::exception& error) {
    fail(ErrorCode::kData, "{}: expected an evaluation as written by `troupe study`, got one with {} (remove the file)",
         where, error.what());
  }
  return evaluation;
}

void add_load(std::vector<std::vector<int64_t>>& load_LE, std::span<const RouterStats> stats) {
  load_LE.resize(stats.size());
  for (size_t layer = 0; layer < stats.size(); ++layer) {
    load_LE[layer].resize(stats[layer].load_E.size());
    for (size_t e = 0; e < stats[layer].load_E.size(); ++e) load_LE[layer][e] += stats[layer].load_E[e];
  }
}

DomainResult score_domain(LanguageModel& model, const StudyDomain& domain, const fs::path& tokenizer,
                          const StudyConfig& config, const EvaluationProgress& progress) {
  const TokenDataset dataset(domain.dataset);
  if (!is_tokenizer(tokenizer, dataset.vocabulary().tokenizer))
    fail(ErrorCode::kData, "{}: expected shards written with {}, got some of another tokenizer ({})",
         domain.dataset.string(), tokenizer.string(), to_hex(dataset.vocabulary().tokenizer));
  const EvalText text = read_eval_shards(domain.name, dataset, model.config().eos_id, config.valid_tokens);
  DomainResult result{.domain = domain.name, .held_out = domain.held_out};
  PerplexityResult scores = evaluate_perplexity(model, text, {}, [&](int64_t done, int64_t total) {
    add_load(result.load_LE, model.router_stats());
    if (progress) progress(domain.name, static_cast<double>(done) / static_cast<double>(total));
  });
  result.sum = scores.sum;
  result.bytes = scores.bytes;
  result.standard_error = scores.standard_error();
  result.documents = std::move(scores.documents);
  return result;
}

TextSample continue_prompt(LanguageModel& model, const Tokenizer& tokenizer, const std::string& prompt,
                           const StudyConfig& config) {
  GenerateOptions options;
  options.max_tokens = config.sample_tokens;
  options.sampling.temperature = config.sample_temperature;
  options.sampling.seed = static_cast<uint64_t>(config.seed);
  return {prompt, continue_text(model, tokenizer, prompt, options).text};
}

}  // namespace

double DomainResult::perplexity() const { return std::exp(nll()); }
double DomainResult::bits_per_byte() const { return sum.nll / std::log(2.0) / static_cast<double>(bytes); }

ModelEvaluation evaluate_model(const fs::path& model_folder, const fs::path& cache, const StudyConfig& config,
                               const StudyData& data, const EvaluationProgress& progress) {
  const Json sources = made_from(model_folder, config, data);
  if (fs::exists(cache)) {
    const nlohmann::json saved = read_json_file(cache);
    if (saved.is_object() && saved.contains("made_from") && saved["made_from"] == nlohmann::json(sources))
      return from_json(saved, cache.string());
  }
  const auto model = load_model(model_folder, default_precision());
  const Tokenizer tokenizer = Tokenizer::load(data.tokenizer.string());
  ModelEvaluation evaluation;
  for (const StudyDomain& domain : data.evaluation)
    evaluation.domains.push_back(score_domain(*model, domain, data.tokenizer, config, progress));
  for (const std::string& prompt : config.prompts)
    evaluation.samples.push_back(continue_prompt(*model, tokenizer, prompt, config));
  write_json_file(cache, to_json(evaluation, sources));
  return evaluation;
}

}  // namespace troupe
