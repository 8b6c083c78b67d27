#include "model/convert.h"

#include "base/log.h"
#include "io/path_kind.h"
#include "io/tensor_stats.h"
#include "model/decoder_parameters.h"
#include "model/fairseq_model.h"
#include "model/model_directory.h"

namespace troupe {

namespace fs = std::filesystem;
namespace {

void warn_if_not_finite(const Parameter& parameter, std::span<const float> values) {
  if (const int64_t count = stats_of(values).non_finite)
    log::warning("{}: {} of {} values are not finite", parameter.name, count, values.size());
}

Conversion conversion(const char* format, const fs::path& folder, const ModelConfig& config,
                      const ParameterTable& table) {
  return {format, folder, config, static_cast<int64_t>(table.entries().size()), table.num_parameters()};
}

Conversion from_fairseq(const fs::path& source, std::optional<Gelu> gelu, const fs::path& folder) {
  const FairseqCheckpoint checkpoint(source);
  const ModelConfig config = config_of(checkpoint, gelu);
  const ParameterTable table = make_parameter_table(config);
  check_tensors(checkpoint, table);
  for (const std::string& note : checkpoint.notes()) log::info("{}", note);
  for (const std::string& note : ignored_settings(checkpoint)) log::info("{}", note);
  if (!gelu)
    log::info("gelu: {} by activation_fn; a model trained with Megatron's fused kernel needs --gelu tanh",
              name_of_enum(config.gelu));
  write_model(folder, config, [&](const Parameter& parameter, std::span<float> values) {
    read_parameter(checkpoint, parameter, values);
    warn_if_not_finite(parameter, values);
  });
  return conversion("fairseq", checkpoint.folder(), config, table);
}

Conversion from_troupe(const fs::path& source, std::optional<Gelu> gelu, const fs::path& folder) {
  ModelConfig config = read_model_config(source);
  if (gelu) config.gelu = *gelu;
  const ParameterTable table = make_parameter_table(config);
  const ModelTensors tensors(source);
  tensors.check_against(table);
  write_model(folder, config, [&](const Parameter& parameter, std::span<float> values) {
    convert_to_f32(*tensors.find(parameter.name), values, tensors.where());
    warn_if_not_finite(parameter, values);
  });
  return conversion("troupe", source, config, table);
}

}  // namespace

Conversion convert_model(const fs::path& source, std::optional<Gelu> gelu, const fs::path& folder) {
  const bool is_fairseq = !fs::is_directory(source) || kind_of_path(source) == PathKind::kFairseq;
  return is_fairseq ? from_fairseq(source, gelu, folder) : from_troupe(find_model(source), gelu, folder);
}

}  // namespace troupe
