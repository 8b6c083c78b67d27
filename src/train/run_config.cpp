#include "train/run_config.h"

#include "base/error.h"
#include "model/language_model.h"

namespace troupe {

void check(const RunConfig& config, const std::string& where) {
  const TrainConfig& train = config.train;
  check(config.model, where + ": model");
  if ((train.steps > 0) == (train.tokens > 0))
    fail(ErrorCode::kUsage, "{}: train.steps: expected either steps or tokens above 0, got {} and {}", where,
         train.steps, train.tokens);
  if (train.micro_sequences > 0 && train.batch_sequences % train.micro_sequences != 0)
    fail(ErrorCode::kUsage, "{}: train.micro_sequences: expected a divisor of train.batch_sequences ({}), got {}",
         where, train.batch_sequences, train.micro_sequences);
  const int64_t micro = train.micro_sequences > 0 ? train.micro_sequences : train.batch_sequences;
  if (const int64_t group = config.model.moe.group_sequences;
      config.model.moe.num_experts > 0 && group > 0 && micro % group != 0)
    fail(ErrorCode::kUsage,
         "{}: model.moe.group_sequences: expected a divisor of the {} sequences of a micro-batch, got {}", where, micro,
         group);
  if (train.precision != "auto" && train.precision != "fp32" && train.precision != "bf16")
    fail(ErrorCode::kUsage, "{}: train.precision: expected auto, fp32 or bf16, got {}", where, train.precision);
  const Schedule schedule(train.schedule, num_steps(config), where + ": train.schedule");
  if (config.data.train.empty())
    fail(ErrorCode::kUsage, "{}: data.train: expected at least one dataset, got none (make one with `troupe encode`)",
         where);
}

int64_t num_steps(const RunConfig& config) {
  if (config.train.steps > 0) return config.train.steps;
  const int64_t per_step = config.train.batch_sequences * config.model.context;
  return (config.train.tokens + per_step - 1) / per_step;
}

NamedEntry parse_named(const std::string& text) {
  const size_t equals = text.rfind('=');
  return equals == text.npos ? NamedEntry{text, text} : NamedEntry{text.substr(0, equals), text.substr(equals + 1)};
}

}  // namespace troupe
