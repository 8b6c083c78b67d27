// Small datasets and configurations to train on in tests.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/rng.h"
#include "data/shards/dataset.h"
#include "train/run_config.h"

namespace troupe::test {

// Documents in which a token predicts the next one well: id 0 ends them.
inline std::string write_token_dataset(const std::filesystem::path& folder, uint64_t seed, int64_t documents,
                                       int64_t vocab_size = 40) {
  Rng rng(seed);
  DatasetWriter writer(folder, {.size = vocab_size, .end_of_text = 0, .tokenizer = 1}, 1000);
  for (int64_t i = 0; i < documents; ++i) {
    std::vector<int32_t> ids(5 + rng.below(60));
    auto id = static_cast<int32_t>(1 + rng.below(static_cast<uint64_t>(vocab_size) - 1));
    for (int32_t& next : ids) {
      next = id;
      id = rng.below(4) == 0 ? static_cast<int32_t>(1 + rng.below(static_cast<uint64_t>(vocab_size) - 1))
                             : static_cast<int32_t>(1 + (3 * id + 1) % (vocab_size - 1));
    }
    writer.add(ids, static_cast<int64_t>(3 * ids.size()));
  }
  writer.finish();
  return folder.string();
}

enum class Kind { kDense, kMoe };

// Two layers of width 32 over datasets `a`, `b` and the validation set `v`, which it writes below `folder`.
inline RunConfig small_run(const std::filesystem::path& folder, Kind kind) {
  RunConfig config;
  config.model = {.num_layers = 2, .d_model = 32, .num_heads = 2, .d_ff = 64, .vocab_size = 40, .context = 16};
  config.model.dropout = 0.1;
  config.model.attention_dropout = 0.1;
  if (kind == Kind::kMoe) {
    config.model.moe.num_experts = 4;
    config.model.moe.every = 2;
    config.model.moe.expert_d_ff = 48;
    config.model.moe.capacity = Capacity::kFairseq;
    config.model.moe.second_choice = SecondChoice::kSampling;
  }
  config.train = {.steps = 12, .batch_sequences = 8, .micro_sequences = 4, .precision = PrecisionChoice::kFp32, .clip_norm = 1.0};
  config.train.schedule = {.lr = 3e-3, .warmup_steps = 3};
  config.train.log_every = 2;
  config.train.valid_every = 4;
  config.train.checkpoint_every = 5;
  config.train.keep_last = 3;
  config.data.train = {"a=" + write_token_dataset(folder / "a", 1, 40),
                       "b=" + write_token_dataset(folder / "b", 2, 25)};
  config.data.valid = {"v=" + write_token_dataset(folder / "v", 3, 10)};
  return config;
}

}  // namespace troupe::test
