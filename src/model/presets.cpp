#include "model/presets.h"

#include <vector>

#include "base/error.h"
#include "base/nearest.h"

namespace troupe {
namespace {

constexpr PresetFamily kStudy = {"Artetxe et al. 2021, table 1", Positions::kSinusoidal};
constexpr PresetFamily kGpt3 = {"Brown et al. 2020, table 2.1", Positions::kLearned};

// GPT-3 1.3B is printed with 24 heads of 128, which do not make 2,048; 16 do.
// clang-format off
constexpr Preset kPresets[] = {
    // name       layers  width heads experts  batch  rate    dropout decay  params    nominal ZFLOPs
    {"dense-125m",    12,   768,  12,   0, 0.5e6, 6.0e-4, 0.1, 0.01, "0.125B", true,  "0.364",  kStudy},
    {"dense-355m",    24,  1024,  16,   0, 0.5e6, 3.0e-4, 0.0, 0.01, "0.355B", false, "1.059",  kStudy},
    {"dense-1.3b",    24,  2048,  32,   0, 1.0e6, 2.0e-4, 0.1, 0.01, "1.3B",   false, "3.567",  kStudy},
    {"dense-2.7b",    32,  2560,  32,   0, 1.0e6, 1.6e-4, 0.1, 0.01, "2.65B",  false, "7.076",  kStudy},
    {"dense-6.7b",    32,  4096,  32,   0, 2.0e6, 1.2e-4, 0.1, 0.01, "6.7B",   false, "17.119", kStudy},
    {"dense-13b",     40,  5120,  40,   0, 2.0e6, 1.0e-4, 0.1, 0.01, "12.85B", false, "32.673", kStudy},
    {"moe-15b",       12,   768,  12, 512, 0.5e6, 6.0e-4, 0.1, 0.01, "14.6B",  false, "0.432",  kStudy},
    {"moe-52b",       24,  1024,  16, 512, 0.5e6, 3.0e-4, 0.0, 0.01, "51.8B",  false, "1.300",  kStudy},
    {"moe-207b",      24,  2048,  32, 512, 1.0e6, 1.6e-4, 0.1, 0.0,  "207.1B", false, "4.533",  kStudy},
    {"moe-1.1t",      32,  4096,  32, 512, 2.0e6, 1.2e-4, 0.1, 0.01, "1104B",  false, "22.273", kStudy},
    {"gpt3-125m",     12,   768,  12,   0, 0,     0,      0,   0,    "125M",   true,  "0.36",   kGpt3},
    {"gpt3-355m",     24,  1024,  16,   0, 0,     0,      0,   0,    "355M",   true,  "1.06",   kGpt3},
    {"gpt3-760m",     24,  1536,  16,   0, 0,     0,      0,   0,    "760M",   true,  "2.13",   kGpt3},
    {"gpt3-1.3b",     24,  2048,  16,   0, 0,     0,      0,   0,    "1.3B",   true,  "3.57",   kGpt3},
    {"gpt3-2.7b",     32,  2560,  32,   0, 0,     0,      0,   0,    "2.7B",   true,  "7.08",   kGpt3},
    {"gpt3-6.7b",     32,  4096,  32,   0, 0,     0,      0,   0,    "6.7B",   true,  "17.12",  kGpt3},
    {"gpt3-13b",      40,  5120,  40,   0, 0,     0,      0,   0,    "13B",    true,  "32.67",  kGpt3},
    {"gpt3-175b",     96, 12288,  96,   0, 0,     0,      0,   0,    "175B",   true,  "430.17", kGpt3},
};
// clang-format on

}  // namespace

std::span<const Preset> presets() { return kPresets; }

const Preset& find_preset(std::string_view name) {
  std::vector<std::string> names;
  for (const Preset& preset : kPresets) {
    if (preset.name == name) return preset;
    names.emplace_back(preset.name);
  }
  std::string list;
  for (const std::string& each : names) list += (list.empty() ? "" : ", ") + each;
  fail(ErrorCode::kUsage, "--preset: expected one of {}, got {} (did you mean {}?)", list, name, nearest(name, names));
}

ModelConfig make_config(const Preset& preset) {
  ModelConfig config;
  config.num_layers = preset.num_layers;
  config.d_model = preset.d_model;
  config.num_heads = preset.num_heads;
  config.d_ff = 4 * preset.d_model;
  config.vocab_size = 51200;
  config.context = 2048;
  config.positions = preset.family.positions;
  config.dropout = preset.dropout;
  config.attention_dropout = preset.dropout;
  config.pad_id = 1;
  config.eos_id = 2;
  config.moe.num_experts = preset.num_experts;
  if (preset.num_experts > 0) config.moe.capacity = Capacity::kFairseq;
  return config;
}

}  // namespace troupe
