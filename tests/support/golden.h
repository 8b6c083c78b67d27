// The reference models and data in tests/data/golden (README.md there says what every tensor means).
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "io/safetensors.h"
#include "model/fairseq_model.h"
#include "model/fairseq_names.h"
#include "model/language_model.h"

namespace troupe::test {

inline std::filesystem::path golden(const std::string& path) {
  return std::filesystem::path(TROUPE_TEST_DATA) / "golden" / path;
}

template <class T>
std::vector<T> values_of(const SafetensorsFile& file, const std::string& name) {
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
  const Shape& shape = file.at(prefix + "src_tokens").shape;
  batch.B = shape[0], batch.S = shape[1];
  batch.src = ids_of(file, prefix + "src_tokens");
  batch.tgt = ids_of(file, prefix + "target");
  return batch;
}

// "dense" -> dense/model.pt, "moe" -> moe/model-*.pt.
inline std::unique_ptr<LanguageModel> load_golden(const std::string& folder, Precision precision) {
  const std::filesystem::path base = golden("fairseq-small/" + folder);
  const FairseqCheckpoint checkpoint(std::filesystem::exists(base / "model.pt") ? base / "model.pt" : base / "model");
  auto model = std::make_unique<LanguageModel>(config_of(checkpoint), precision);
  check_tensors(checkpoint, model->table());
  for (const Parameter& parameter : model->table().entries())
    read_parameter(checkpoint, parameter, model->params().at(parameter.slot));
  return model;
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
  EXPECT_EQ(file.tensors().size(), store.table().entries().size());
  for (const Parameter& parameter : store.table().entries()) {
    const std::vector<float> expected = values_of<float>(file, fairseq_name_of(parameter.name).value());
    std::vector<float> actual;
    for (const float value : store.at(parameter.slot)) actual.push_back(static_cast<float>(value * scale));
    const bool key_bias = parameter.name.ends_with("k_proj.bias");
    expect_all_near<float, float>(actual, expected, key_bias ? key_bias_tolerance : tolerance, parameter.name);
  }
}

}  // namespace troupe::test
