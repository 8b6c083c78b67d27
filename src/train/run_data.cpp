#include "train/run_data.h"

#include "base/error.h"
#include "data/shards/tokenizer_identity.h"
#include "io/checksum.h"
#include "io/named_path.h"

namespace troupe {
namespace {

std::shared_ptr<const TokenDataset> open_dataset(const std::string& folder, const DataConfig& config) {
  auto dataset = std::make_shared<const TokenDataset>(folder);
  if (!config.any_tokenizer) check_tokenizer_copy(*dataset);
  if (config.verify) dataset->verify();
  return dataset;
}

void check_vocabulary(const ModelConfig& model, const TokenDataset& data, const std::string& where) {
  if (data.vocabulary().size > model.vocab_size)
    fail(ErrorCode::kUsage, "{}: model.vocab_size: expected at least the {} ids of {}, got {}", where,
         data.vocabulary().size, data.path().string(), model.vocab_size);
  if (data.vocabulary().end_of_text != model.eos_id)
    fail(ErrorCode::kUsage, "{}: model.eos_id: expected {}, the end-of-text of {}, got {}", where,
         data.vocabulary().end_of_text, data.path().string(), model.eos_id);
}

void check_tokenizer(const DataConfig& config, const TokenDataset& data, const TokenDataset& train,
                     const std::string& where) {
  const uint64_t expected = train.vocabulary().tokenizer, got = data.vocabulary().tokenizer;
  if (expected != got && !config.any_tokenizer)
    fail(ErrorCode::kData,
         "{}: data.valid: {}: expected the tokenizer of {} ({}), got another ({}; encode the text with the former, or "
         "data.any_tokenizer = true)",
         where, data.path().string(), train.path().string(), to_hex(expected), to_hex(got));
}

}  // namespace

Loader open_training_data(const RunConfig& config, const std::string& where) {
  const std::map<std::string, double> weights = read_weights(config.data.weights, where + ": data.weights");
  std::vector<Corpus> corpora;
  for (const std::string& text : config.data.train) {
    const NamedPath entry = parse_named_path(text, where + ": data.train");
    const auto weight = weights.find(entry.name);
    corpora.push_back({.name = entry.name,
                       .data = open_dataset(entry.path, config.data),
                       .weight = weight == weights.end() ? 0.0 : weight->second});
  }
  Loader loader(std::move(corpora), static_cast<uint64_t>(config.train.seed), config.train.batch_sequences,
                config.model.context);
  for (const Corpus& corpus : loader.corpora()) check_vocabulary(config.model, *corpus.data, where);
  return loader;
}

Validation open_validation_data(const RunConfig& config, const Loader& training, const std::string& where) {
  Validation validation;
  for (const NamedPath& entry : parse_named_paths(config.data.valid, where + ": data.valid")) {
    const auto dataset = open_dataset(entry.path, config.data);
    check_vocabulary(config.model, *dataset, where);
    check_tokenizer(config.data, *dataset, *training.corpora().front().data, where);
    validation.add(
        read_eval_shards(entry.name, *dataset, dataset->vocabulary().end_of_text, config.train.valid_tokens));
  }
  return validation;
}

std::vector<DatasetIdentity> identities(const Loader& training) {
  std::vector<DatasetIdentity> list;
  for (const Corpus& corpus : training.corpora())
    list.push_back({.name = corpus.name,
                    .checksum = corpus.data->checksum(),
                    .tokens = corpus.data->tokens(),
                    .weight = corpus.weight,
                    .key = "data.train"});
  return list;
}

}  // namespace troupe
