#include "study/model_evaluation.h"

#include <algorithm>

#include "base/error.h"
#include "data/shards/dataset.h"
#include "data/shards/tokenizer_identity.h"
#include "eval/journal.h"
#include "infer/continue_text.h"
#include "io/checksum.h"
#include "io/json_fields.h"
#include "io/json_file.h"
#include "model/model_directory.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char* kSchema = "troupe.study.evaluation/2";

// Everything the results depend on; a cache made from anything else is not used.
Json made_from(const fs::path& model_folder, const StudyConfig& config, const StudyData& data) {
  Json sources = {{"schema", kSchema},
                  {"model", model_checksum(model_folder)},
                  {"valid_tokens", config.valid_tokens},
                  {"prompts", config.prompts},
                  {"sample_tokens", config.sample_tokens},
                  {"sample_temperature", config.sample_temperature},
                  {"seed", seeds_of(config).front()}};
  for (const StudyDomain& domain : data.evaluation)
    sources[domain.held_out ? "held_out" : "data"][domain.name] = TokenDataset(domain.dataset).checksum();
  return sources;
}

// evaluation.json.
struct EvaluationFile {
  nlohmann::json made_from;
  ModelEvaluation evaluation;

  template <class V>
  void fields(V& v) {
    v.constant("schema", kSchema);
    v("made_from", made_from), v("domains", evaluation.domains), v("samples", evaluation.samples);
  }
};

ModelEvaluation read_evaluation(const nlohmann::json& saved, const fs::path& path) {
  EvaluationFile file;
  read_json_fields(saved, path.string(), file);
  return std::move(file.evaluation);
}

TextSample continue_prompt(LanguageModel& model, const Tokenizer& tokenizer, const std::string& prompt,
                           const StudyConfig& config) {
  GenerateOptions options;
  options.max_tokens = config.sample_tokens;
  options.sampling.temperature = config.sample_temperature;
  options.sampling.seed = static_cast<uint64_t>(seeds_of(config).front());
  const Continuation continuation = continue_text(model, tokenizer, prompt, options);
  return {prompt, continuation.text, std::string(name_of_enum(continuation.generation.finish))};
}

}  // namespace

EvalText read_domain(const StudyDomain& domain, const fs::path& tokenizer, int64_t end_of_text, int64_t max_tokens) {
  const TokenDataset dataset(domain.dataset);
  if (!is_tokenizer(tokenizer, dataset.vocabulary().tokenizer))
    fail(ErrorCode::kData, "{}: expected shards written with {}, got some of another tokenizer ({})",
         domain.dataset.string(), tokenizer.string(), to_hex(dataset.vocabulary().tokenizer));
  return read_eval_shards(domain.name, dataset, end_of_text, max_tokens);
}

DomainResult score_text(LanguageModel& model, const StudyDomain& domain, const EvalText& text,
                        const EvaluationProgress& progress, Communicator* ranks) {
  DomainResult result{.name = domain.name,
                      .in_domain = domain.in_domain,
                      .held_out = domain.held_out,
                      .documents = {},
                      .load_LE = {}};
  PerplexityResult scores = evaluate_perplexity(model, text, {.ranks = ranks}, [&](int64_t done, int64_t total) {
    if (progress) progress(domain.name, static_cast<double>(done) / static_cast<double>(total));
  });
  result.tokens = scores.sum.tokens, result.bytes = scores.bytes;
  result.nll = scores.nll(), result.standard_error = scores.standard_error();
  result.bits_per_byte = scores.bits_per_byte(), result.drop_rate = scores.sum.drop_rate();
  result.documents = scores.document_scores();
  result.load_LE = std::move(scores.load_LE);
  return result;
}

std::vector<DomainResult> score_domains(const fs::path& model_folder, const StudyConfig& config, const StudyData& data,
                                        const EvaluationProgress& progress, Communicator* ranks) {
  const auto model = load_model(model_folder, default_precision());
  std::vector<DomainResult> domains;
  for (const StudyDomain& domain : data.evaluation)
    domains.push_back(score_text(
        *model, domain, read_domain(domain, data.tokenizer, model->config().eos_id, config.valid_tokens), progress, ranks));
  return domains;
}

ModelEvaluation evaluate_model(const fs::path& model_folder, const fs::path& cache, const StudyConfig& config,
                               const StudyData& data, const std::function<std::vector<DomainResult>()>& score) {
  const Json sources = made_from(model_folder, config, data);
  if (fs::exists(cache)) {
    const nlohmann::json saved = read_json_file(cache);
    if (saved.is_object() && saved.contains("made_from") && saved["made_from"] == nlohmann::json(sources))
      return read_evaluation(saved, cache);
  }
  ModelEvaluation evaluation{.domains = score(), .samples = {}};
  const auto model = load_model(model_folder, default_precision());
  const Tokenizer tokenizer = Tokenizer::load(data.tokenizer.string());
  for (const std::string& prompt : config.prompts)
    evaluation.samples.push_back(continue_prompt(*model, tokenizer, prompt, config));
  Json file = json_of(EvaluationFile{.made_from = {}, .evaluation = evaluation});
  file["made_from"] = sources;
  write_json_file(cache, file);
  return read_evaluation(read_json_file(cache),
                         cache);  // what the next run will see: samples may end within a character
}

}  // namespace troupe
