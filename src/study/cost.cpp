#include "study/cost.h"

#include <fmt/core.h>

#include "model/decoder_parameters.h"

namespace troupe {

Cost cost_of(const ModelConfig& config, double tokens, int64_t seq_len, const FlopsRule& rule) {
  Cost cost;
  const ParameterTable table = make_parameter_table(config);
  cost.params_total = table.num_parameters();
  for (const ParameterFamily& family : table.families())
    if (family.pattern.role == Role::kExpert) cost.params_experts += family.size();
  cost.params_active = num_active_parameters(config);
  cost.forward = forward_flops_per_token(config, seq_len, rule);
  cost.flops_per_token = train_flops_per_token(config, seq_len, rule);
  cost.train_flops = cost.flops_per_token * tokens;
  return cost;
}

std::vector<PaperRow> paper_table() {
  std::vector<PaperRow> rows;
  for (const Preset& preset : presets()) {
    const Cost cost = cost_of(make_config(preset), kPaperTokens, kPaperSeqLen, paper_rule());
    PaperRow row{.preset = &preset,
                 .params = as_printed(preset.published_params, static_cast<double>(cost.params_total)),
                 .zflops = as_printed(preset.published_zflops, cost.train_zflops())};
    row.params_equal = preset.nominal_params || row.params == preset.published_params;
    row.zflops_equal = row.zflops == preset.published_zflops;
    rows.push_back(std::move(row));
  }
  return rows;
}

std::string as_printed(std::string_view printed, double value) {
  const bool has_unit = !printed.empty() && (printed.back() == 'B' || printed.back() == 'M');
  const std::string_view digits = printed.substr(0, printed.size() - has_unit);
  const std::string_view unit = printed.substr(digits.size());
  const size_t dot = digits.find('.');
  const size_t decimals = dot == digits.npos ? 0 : digits.size() - dot - 1;
  return fmt::format("{:.{}f}{}", value / (unit == "B" ? 1e9 : unit == "M" ? 1e6 : 1.0), decimals, unit);
}

}  // namespace troupe
