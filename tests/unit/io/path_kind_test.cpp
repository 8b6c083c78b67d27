#include "io/path_kind.h"

#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <vector>

#include "temporary_folder.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;

struct KindOfPath : testing::Test {
  const test::TemporaryFolder root;

  fs::path with(const std::vector<std::string>& files, const std::string& folder) const {
    const fs::path path = root.path() / folder;
    fs::create_directories(path);
    for (const std::string& file : files) std::ofstream(path / file) << "x";
    return path;
  }
};

TEST_F(KindOfPath, AFolderIsWhatItsFilesSay) {
  EXPECT_EQ(kind_of_path(with({"manifest.json", "config.json"}, "checkpoint")), PathKind::kCheckpoint);
  EXPECT_EQ(kind_of_path(with({"model-shared.pt", "config.json"}, "fairseq")), PathKind::kFairseq);
  EXPECT_EQ(kind_of_path(with({"config.json", "index.json"}, "model")), PathKind::kModel);
  EXPECT_EQ(kind_of_path(with({"index.json", "a.tok"}, "tokens")), PathKind::kTokens);
  EXPECT_EQ(kind_of_path(with({"config.toml", "a.safetensors"}, "run")), PathKind::kFolder);
  EXPECT_EQ(kind_of_path(with({}, "empty")), PathKind::kFolder);
}

TEST_F(KindOfPath, AFileIsWhatItsNameEndsIn) {
  const fs::path folder = with({"a.safetensors", "a.gguf", "a.tok", "a.pt", "a.txt", "b-shared.pt"}, "files");
  EXPECT_EQ(kind_of_path(folder / "a.safetensors"), PathKind::kSafetensors);
  EXPECT_EQ(kind_of_path(folder / "a.tok"), PathKind::kTokenShard);
  EXPECT_EQ(kind_of_path(folder / "a.gguf"), PathKind::kGguf);
  EXPECT_EQ(kind_of_path(folder / "a.pt"), PathKind::kFairseq);
  EXPECT_EQ(kind_of_path(folder / "a.txt"), PathKind::kFile);
  EXPECT_EQ(kind_of_path(folder / "b"), PathKind::kFairseq);  // a prefix
  EXPECT_EQ(kind_of_path(folder / "a"), PathKind::kNothing);
}

}  // namespace
}  // namespace troupe
