// Reading the reference models and data (golden_folder.h).
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "golden_folder.h"
#include "io/json_file.h"
#include "io/safetensors.h"
#include "model/fairseq_model.h"
#include "model/fairseq_names.h"
#include "model/language_model.h"

namespace troupe::test {

inline const TensorView& tensor_of(const SafetensorsFile& file, const std::string& name) {
  const TensorView* const tensor = file.find(name);
  if (!tensor) throw NotInTheData(name);
  return *tensor;
}

template <class T>
std::vector<T> values_of(const SafetensorsFile& file, const std::string& name) {
  tensor_of(file, name);
  const Tensor tensor = file.read(name);
  EXPECT_EQ(tensor.dtype(), dtype_of<T>()) << name;
  const auto values = tensor.as<T>();
  return {values.begin(), values.end()};
}
inline double scalar_of(const SafetensorsFile& file, const std::string& name) {
  return values_of<double>(file, name).at(0);
}
inline std::vector<int32_t> ids_of(const SafetensorsFile& file, const std::string& name) {
  const std::vector<int64_t> wide = values_of<int64_t>(file, name);
  return {wide.begin(), wide.end()};
}

// A batch from NAME.src_tokens (or NAMEsrc_tokens) and its target.
inline Batch batch_of(const SafetensorsFile& file, const std::string& prefix) {
  Batch batch;
  const Shape& shape = tensor_of(file, prefix + "src_tokens").shape;
  batch.B = shape[0], batch.S = shape[1];
  batch.src = ids_of(file, prefix + "src_tokens");
  batch.tgt = ids_of(file, prefix + "target");
  return batch;
}

inline std::unique_ptr<LanguageModel> load_golden(const std::filesystem::path& folder, Precision precision,
                                                  int64_t group_sequences = 0, Communicator* ranks = nullptr) {
  const FairseqCheckpoint checkpoint(initial_model(folder));
  ModelConfig config = config_of(checkpoint);
  if (group_sequences > 0) config.moe.group_sequences = group_sequences;
  auto model = std::make_unique<LanguageModel>(config, precision, DecoderOptions{.ranks = ranks});
  check_tensors(checkpoint, model->table());
  for (const Parameter& parameter : model->params().entries())
    read_parameter(checkpoint, parameter, model->params().at(parameter.slot));
  return model;
}

// What correct evaluations differ by, of which config.json may say more (its "rounding") than is usual.
inline double tolerance_of(const nlohmann::json& config, const std::string& what, double usual) {
  double largest = 0.0;
  if (config.contains("rounding"))
    for (const auto& [name, value] : config["rounding"].items())
      if (value.is_number() && name.starts_with(what + "_float") && !name.ends_with("k_proj.bias"))
        largest = std::max(largest, value.get<double>());
  return std::max(usual, 2.0 * largest);
}

// Largest |actual - expected|, and where.
template <class A, class E>
void expect_all_near(std::span<const A> actual, const std::vector<E>& expected, double tolerance,
                     const std::string& what) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  double worst = 0.0;
  size_t at = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double error = std::abs(static_cast<double>(actual[i]) - static_cast<double>(expected[i]));
    if (!(error <= worst)) worst = error, at = i;
  }
  EXPECT_LE(worst, tolerance) << what << ", element " << at << ": expected " << expected.at(at) << ", got "
                              << actual[at];
}

// Every tensor of a golden file of parameters or gradients against a store; k_proj.bias has a tolerance of its own,
// because its true gradient is zero and what is stored is rounding noise.
inline void expect_parameters_near(const ParameterStore<float>& store, const SafetensorsFile& file, double scale,
                                   double tolerance, double key_bias_tolerance) {
  for (const Parameter& parameter : store.entries()) {
    const std::vector<float> expected = values_of<float>(file, fairseq_name_of(parameter.name).value());
    std::vector<float> actual;
    for (const float value : store.at(parameter.slot)) actual.push_back(static_cast<float>(value * scale));
    const bool key_bias = parameter.name.ends_with("k_proj.bias");
    expect_all_near<float, float>(actual, expected, key_bias ? key_bias_tolerance : tolerance, parameter.name);
  }
  EXPECT_EQ(file.tensors().size(), store.table().entries().size());
}

}  // namespace troupe::test
