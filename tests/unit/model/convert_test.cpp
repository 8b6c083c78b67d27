#include "model/convert.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "error_of.h"
#include "io/atomic_file.h"
#include "io/checkpoint_directory.h"
#include "model/decoder_parameters.h"
#include "model/model_directory.h"
#include "temporary_folder.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;
using test::TemporaryFolder;
using testing::HasSubstr;

const fs::path kFairseq = fs::path(TROUPE_TEST_DATA) / "golden" / "fairseq-small";

TEST(Convert, AModelOfOursIsCopiedWithAnotherGelu) {
  const TemporaryFolder source, copy;
  ModelConfig config;
  config.num_layers = 1, config.d_model = 8, config.num_heads = 2, config.d_ff = 8, config.vocab_size = 11;
  config.context = 4, config.gelu = Gelu::kErf;
  const ParameterTable table = make_parameter_table(config);
  ParameterStore<float> params(table);
  initialize(params, 5);
  write_model(source.path(), config, params);
  const Conversion converted = convert_model(source.path(), Gelu::kTanh, copy.path());
  EXPECT_EQ(converted.format_from, "troupe");
  EXPECT_EQ(converted.folder, source.path());
  EXPECT_EQ(converted.params, table.num_parameters());
  EXPECT_EQ(read_model_config(copy.path()).gelu, Gelu::kTanh);
  EXPECT_EQ(read_file(copy / "model.safetensors"), read_file(source / "model.safetensors"));
}

TEST(Convert, ARunIsItsNewestCheckpoint) {
  const TemporaryFolder run, copy;
  ModelConfig config;
  config.num_layers = 1, config.d_model = 8, config.num_heads = 2, config.d_ff = 8, config.vocab_size = 11;
  const ParameterTable table = make_parameter_table(config);
  ParameterStore<float> params(table);
  CheckpointWriter writer(run.path() / "checkpoints", 7);
  writer.add_file("config.json", [&](FileWriter& file) { file.write(config_json(config)); });
  writer.add_tensors("model.safetensors", tensors_of(params));
  const Checkpoint checkpoint = writer.commit();
  EXPECT_EQ(convert_model(run.path(), std::nullopt, copy.path()).folder, checkpoint.folder);
}

TEST(Convert, FairseqIsKnownByItsFilesAndGeluCanBeSaid) {
  const TemporaryFolder as_it_says, as_told;
  const Conversion converted = convert_model(kFairseq / "dense-learned", std::nullopt, as_it_says.path());
  EXPECT_EQ(converted.format_from, "fairseq");
  EXPECT_EQ(converted.folder, kFairseq / "dense-learned");
  EXPECT_EQ(converted.tensors, static_cast<int64_t>(make_parameter_table(converted.config).entries().size()));
  EXPECT_EQ(convert_model(kFairseq / "dense-learned" / "model.pt", Gelu::kTanh, as_told.path()).config.gelu, Gelu::kTanh);
  EXPECT_EQ(read_file(as_it_says / "model.safetensors"), read_file(as_told / "model.safetensors"));
  EXPECT_THAT(test::error_of([&] { convert_model(kFairseq / "none", std::nullopt, as_told.path()); }),
              HasSubstr("nothing of this name"));
}

}  // namespace
}  // namespace troupe
