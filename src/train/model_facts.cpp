#include "train/model_facts.h"

#include "eval/journal.h"
#include "io/provenance.h"
#include "model/decoder_parameters.h"
#include "model/flops.h"
#include "model/model_directory.h"
#include "train/checkpoint.h"

namespace troupe {

ModelFacts model_facts(const std::string& model, const ModelConfig& config, double train_tokens,
                       const std::string& adapter) {
  const std::filesystem::path folder = find_model(model);
  if (train_tokens == 0.0) train_tokens = static_cast<double>(trained_tokens(folder).value_or(0));
  ModelFacts facts{.model = model,
                   .model_checksum = model_checksum(folder, adapter),
                   .adapter = adapter,
                   .params = make_parameter_table(config).num_parameters(),
                   .active_params = num_active_parameters(config),
                   .experts = config.moe.num_experts,
                   .provenance = provenance()};
  facts.provenance->date.clear();  // the same evaluation gives the same bytes
  if (train_tokens > 0.0) {
    facts.train_tokens = train_tokens;
    facts.train_flops = train_tokens * train_flops_per_token(config, config.context);
  }
  return facts;
}

}  // namespace troupe
