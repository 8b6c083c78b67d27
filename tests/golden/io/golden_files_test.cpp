// The golden checkpoints against the golden tensors: files, names, shapes, dtypes and values.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <fstream>

#include "error_of.h"
#include "golden_folder.h"
#include "io/checksum.h"
#include "io/fairseq_checkpoint.h"
#include "io/safetensors.h"
#include "temporary_folder.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using test::TemporaryFolder;
using testing::AllOf;
using testing::HasSubstr;

const fs::path kGolden = fs::path(TROUPE_TEST_DATA) / "golden";
const fs::path kModels = test::committed_fairseq();

TEST(GoldenFiles, AreTheOnesOfTheManifest) {
  std::ifstream manifest(kGolden / "MANIFEST.sha256");
  std::string sum, name;
  int count = 0;
  while (manifest >> sum >> name) {
    EXPECT_EQ(sha256_of_file(fs::path(TROUPE_TEST_DATA) / name), sum) << name;
    ++count;
  }
  EXPECT_EQ(count, 43);
}

std::vector<float> values(const FairseqCheckpoint& checkpoint, const TorchTensor& tensor) {
  std::vector<float> out(static_cast<size_t>(num_elements(tensor.shape)));
  checkpoint.read_f32(tensor, out);
  return out;
}

// Every tensor of `file` is in the checkpoint with this shape, and the checkpoint has no other but the three that the
// golden files leave out.
void expect_names_and_shapes(const FairseqCheckpoint& checkpoint, const SafetensorsFile& file) {
  for (const TensorView& expected : file.tensors()) {
    const TorchTensor* tensor = checkpoint.find(expected.name);
    ASSERT_NE(tensor, nullptr) << expected.name;
    EXPECT_EQ(tensor->shape, expected.shape) << expected.name;
    EXPECT_EQ(tensor->dtype, DType::kF32);
  }
  for (const TorchTensor& tensor : checkpoint.tensors()) {
    if (file.find(tensor.name)) continue;
    EXPECT_TRUE(tensor.name == "decoder.version" || tensor.name == "decoder.embed_positions._float_tensor" ||
                tensor.name == "decoder.output_projection.weight")
        << tensor.name;
  }
}

void expect_values(const FairseqCheckpoint& checkpoint, const SafetensorsFile& file) {
  for (const TensorView& expected : file.tensors()) {
    const std::vector<float> got = values(checkpoint, *checkpoint.find(expected.name));
    EXPECT_EQ(std::memcmp(got.data(), expected.bytes.data(), expected.bytes.size()), 0) << expected.name;
  }
}

TROUPE_GOLDEN_TEST(GoldenCheckpoints, DenseAfterSomeUpdatesHoldsTheGoldenWeights) {
  const fs::path path = test::only_file(test::fairseq("dense"), "model_after", ".pt");
  const fs::path weights = test::only_file(test::fairseq("dense"), "after", ".safetensors");
  if (path.empty() || weights.empty()) throw test::NotInTheData("dense/model_after*.pt, after*.safetensors");
  const FairseqCheckpoint checkpoint(path);
  const SafetensorsFile golden(weights);
  expect_names_and_shapes(checkpoint, golden);
  expect_values(checkpoint, golden);
  EXPECT_FALSE(checkpoint.is_sharded());
  EXPECT_EQ(checkpoint.num_experts(), 0);
  EXPECT_THAT(checkpoint.notes(), testing::Contains(HasSubstr("last_optimizer_state: not read")));
}

// Of a model saved by several ranks: their number by its files, that of the experts by the names in `golden`.
void expect_ranks_and_experts(const FairseqCheckpoint& checkpoint, const fs::path& folder, const std::string& prefix,
                              const SafetensorsFile& golden) {
  int64_t ranks = 0, experts = 0;
  while (fs::exists(folder / (prefix + "-rank-" + std::to_string(ranks) + ".pt"))) ++ranks;
  const auto has_expert = [&](int64_t e) {
    return std::any_of(golden.tensors().begin(), golden.tensors().end(), [&](const TensorView& tensor) {
      return tensor.name.find(".experts." + std::to_string(e) + ".") != std::string::npos;
    });
  };
  while (has_expert(experts)) ++experts;
  EXPECT_EQ(checkpoint.num_ranks(), ranks);
  EXPECT_EQ(checkpoint.num_experts(), experts);
}

TROUPE_GOLDEN_TEST(GoldenCheckpoints, ExpertsOfRanksGetGlobalNumbers) {
  const fs::path folder = test::fairseq("moe-parallel");
  const fs::path weights = test::only_file(folder, "after", ".safetensors");
  test::present(folder / "after-shared.pt");
  if (weights.empty()) throw test::NotInTheData("moe-parallel/after*.safetensors");
  const SafetensorsFile golden(weights);
  const FairseqCheckpoint after(folder / "after"), before(test::initial_model(folder));
  expect_names_and_shapes(after, golden);
  expect_values(after, golden);
  expect_ranks_and_experts(after, folder, "after", golden);
  expect_names_and_shapes(before, golden);
}

class GoldenFolder : public testing::TestWithParam<const char*> {};

TROUPE_GOLDEN_TEST_P(GoldenFolder, HasTheNamesAndShapesOfItsGradients) {
  const fs::path folder = test::fairseq(GetParam());
  const SafetensorsFile golden(test::present(folder / "grads.safetensors"));
  const FairseqCheckpoint checkpoint(test::initial_model(folder));
  if (fs::exists(folder / "model.pt")) return expect_names_and_shapes(checkpoint, golden);
  expect_ranks_and_experts(checkpoint, folder, "model", golden);
  expect_names_and_shapes(checkpoint, golden);
  // Any of the files stands for all.
  for (const char* file : {"model-shared.pt", "model-rank-0.pt"})
    expect_names_and_shapes(FairseqCheckpoint(folder / file), golden);
}
INSTANTIATE_TEST_SUITE_P(GoldenCheckpoints, GoldenFolder, testing::Values("dense", "dense-learned", "moe"));

TROUPE_GOLDEN_TEST(GoldenCheckpoints, TheOutputMatrixIsTheEmbedding) {
  const FairseqCheckpoint checkpoint(test::initial_model(test::fairseq("moe")));
  EXPECT_EQ(checkpoint.find("decoder.output_projection.weight")->bytes.data(),
            checkpoint.find("decoder.embed_tokens.weight")->bytes.data());
}

TEST(GoldenCheckpoints, GiveTheirSettings) {
  const FairseqCheckpoint checkpoint(kModels / "moe/model");
  EXPECT_EQ(checkpoint.integer("model", "decoder_embed_dim"), 64);
  EXPECT_EQ(checkpoint.number("criterion", "moe_gate_loss_wt"), 0.01);
  EXPECT_EQ(checkpoint.boolean("model", "decoder_learned_pos"), false);
  EXPECT_EQ(checkpoint.text("model", "moe_second_expert_policy"), "all");
  EXPECT_EQ(checkpoint.integer("model", "moe_expert_ffn_dim"), std::nullopt);
  EXPECT_EQ(checkpoint.integer("nowhere", "moe_expert_ffn_dim"), std::nullopt);
  EXPECT_THAT(error_of([&] { checkpoint.boolean("model", "decoder_embed_dim"); }),
              HasSubstr("model-shared.pt: model.decoder_embed_dim: expected True or False, got an integer"));
}

TEST(FairseqCheckpoint, ReadsNamespaceAndOmegaconfSettingsAlike) {
  for (const char* name : {"dense-half-args.pt", "dense-half-omegaconf.pt"}) {
    const FairseqCheckpoint checkpoint(fs::path(TROUPE_TEST_DATA) / "torch" / name);
    EXPECT_EQ(checkpoint.integer("model", "decoder_layers"), 2) << name;
    EXPECT_EQ(checkpoint.boolean("model", "decoder_learned_pos"), true) << name;
    EXPECT_EQ(checkpoint.integer("model", "moe_expert_ffn_dim"), std::nullopt) << name;
    EXPECT_TRUE(checkpoint.notes().empty()) << checkpoint.notes().front();
    const FairseqCheckpoint full(kModels / "dense-learned/model.pt");
    for (const TorchTensor& tensor : checkpoint.tensors()) {
      EXPECT_EQ(tensor.dtype, DType::kF16);
      const std::vector<float> half = values(checkpoint, tensor), exact = values(full, *full.find(tensor.name));
      for (size_t i = 0; i < half.size(); ++i)
        ASSERT_NEAR(half[i], exact[i], 1e-3 * std::abs(exact[i]) + 1e-7) << tensor.name;
    }
  }
}

TEST(FairseqCheckpoint, NamesWhatIsMissing) {
  const TemporaryFolder folder;
  EXPECT_THAT(error_of([&] { FairseqCheckpoint{folder.path()}; }), HasSubstr("got no .pt file"));
  EXPECT_THAT(error_of([&] { FairseqCheckpoint(folder / "model"); }),
              HasSubstr("model: expected a checkpoint (a .pt file), or the prefix"));
  for (const char* name : {"model-shared.pt", "model-rank-0.pt", "model-rank-1.pt", "model-rank-3.pt"})
    fs::copy(kModels / "moe" / name, folder / name);
  EXPECT_THAT(error_of([&] { FairseqCheckpoint{folder.path()}; }),
              HasSubstr("model-rank-R.pt: expected every rank from 0 to 3, got none of rank 2"));
  fs::remove(folder / "model-rank-3.pt");
  EXPECT_THAT(error_of([&] { FairseqCheckpoint(folder / "model"); }),
              HasSubstr("expected 8 experts (model.moe_expert_count), got 4 in 2 rank files of 2 each"));
  fs::remove(folder / "model-rank-0.pt");
  fs::remove(folder / "model-rank-1.pt");
  EXPECT_THAT(error_of([&] { FairseqCheckpoint(folder / "model"); }),
              HasSubstr("model-rank-0.pt: expected the experts beside"));
  fs::copy(kModels / "dense/model.pt", folder / "other.pt");
  EXPECT_THAT(error_of([&] { FairseqCheckpoint{folder.path()}; }),
              HasSubstr("expected one checkpoint, got model-shared.pt, other.pt"));
  EXPECT_NO_THROW(FairseqCheckpoint(folder / "other.pt"));
}

TEST(FairseqCheckpoint, SurvivesTruncationOfEveryGoldenFile) {
  for (const char* name : {"dense-learned/model.pt", "moe-parallel/model-shared.pt", "moe-parallel/model-rank-1.pt"}) {
    const MappedFile file(kModels / name);
    for (size_t size = 0; size < file.bytes().size(); size += 97)
      EXPECT_NE(error_of([&] { TorchFile(file.bytes().first(size), name); }), "") << name << " " << size;
  }
}

}  // namespace
}  // namespace troupe
