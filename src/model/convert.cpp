#include "model/convert.h"

#include <memory>

#include "base/log.h"
#include "io/path_kind.h"
#include "io/tensor_stats.h"
#include "model/decoder_parameters.h"
#include "model/fairseq_model.h"
#include "model/gguf/gguf_model.h"
#include "model/gguf/gguf_write.h"
#include "model/hf/hf_model.h"
#include "model/hf/hf_write.h"
#include "model/model_directory.h"

namespace troupe {

namespace fs = std::filesystem;
namespace {

void warn_if_not_finite(const Parameter& parameter, std::span<const float> values) {
  if (const int64_t count = stats_of(values).non_finite)
    log::warning("{}: {} of {} values are not finite", parameter.name, count, values.size());
}

struct OpenSource {
  Conversion facts;
  ParameterSource read;
  std::string family = {};  // that it is or was of
};

OpenSource open_fairseq(const fs::path& source, std::optional<Gelu> gelu) {
  const auto checkpoint = std::make_shared<const FairseqCheckpoint>(source);
  const ModelConfig config = config_of(*checkpoint, gelu);
  check_tensors(*checkpoint, make_parameter_table(config));
  for (const std::string& note : checkpoint->notes()) log::info("{}", note);
  for (const std::string& note : ignored_settings(*checkpoint)) log::info("{}", note);
  if (!gelu)
    log::info("gelu: {} by activation_fn; a model trained with Megatron's fused kernel needs --gelu tanh",
              name_of_enum(config.gelu));
  return {{"fairseq", checkpoint->folder(), config}, [checkpoint](const Parameter& parameter, std::span<float> values) {
            read_parameter(*checkpoint, parameter, values);
          }};
}

OpenSource open_gguf(const fs::path& source, std::optional<Gelu> gelu) {
  const auto model = std::make_shared<const GgufModel>(source);
  ModelConfig config = model->config();
  if (gelu) config.gelu = *gelu;
  model->check_against(make_parameter_table(config));
  return {{"gguf", source, config}, [model](const Parameter& parameter, std::span<float> values) {
            model->read(parameter, values);
          },
          std::string(model->family().model_type)};
}

// A model directory, ours or Hugging Face's.
OpenSource open_directory(const fs::path& source, std::optional<Gelu> gelu) {
  ModelConfig config = read_model_config(source);
  if (gelu) config.gelu = *gelu;
  return {{is_hf_model(source) ? "hf" : "troupe", source, config},
          open_parameters(source, make_parameter_table(config)).read,
          model_family(source)};
}

}  // namespace

Conversion convert_model(const fs::path& source, std::optional<Gelu> gelu, const fs::path& folder,
                         const ConversionTarget& target) {
  const bool is_gguf = kind_of_path(source) == PathKind::kGguf;
  const bool is_fairseq = !fs::is_directory(source) || kind_of_path(source) == PathKind::kFairseq;
  auto [facts, read, family] = is_gguf      ? open_gguf(source, gelu)
                               : is_fairseq ? open_fairseq(source, gelu)
                                            : open_directory(find_model(source), gelu);
  read = with_adapter(std::move(read), facts.folder, target.adapter, facts.config, family);
  if (target.reshape) {
    ReshapedModel reshaped = target.reshape(facts.config, std::move(read));
    facts.config = reshaped.config, read = std::move(reshaped.read), family.clear();
  }
  const ParameterTable table = make_parameter_table(facts.config);
  const ParameterSource checked = [&, &from = read](const Parameter& parameter, std::span<float> values) {
    from(parameter, values);
    warn_if_not_finite(parameter, values);
  };
  facts.params = table.num_parameters();
  facts.tensors = table.num_entries();
  SaveOptions save = target.save;
  if (target.format == "gguf") {
    facts.tensors = write_gguf_model(folder, facts.config, target.type,
                                     target.tokenizer ? target.tokenizer(facts) : GgufMetadata(), checked);
  } else if (target.format == "hf") {
    const HfFamily& written = hf_family_for(facts.config, target.family, family);
    facts.tensors = write_hf_model(folder, facts.config, written, checked, save);
  } else {
    save.family = family;
    write_model(folder, facts.config, checked, save);
  }
  return facts;
}

}  // namespace troupe
