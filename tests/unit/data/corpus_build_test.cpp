// A corpus built from packages that the test makes itself: the folder, the manifest, the second run, the refusals.
#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/process.h"
#include "base/rng.h"
#include "data/corpus/build.h"
#include "data/corpus/manifest.h"
#include "data/text/reader.h"
#include "error_of.h"
#include "io/json_file.h"
#include "temporary_folder.h"

namespace troupe::corpus {
namespace {

using test::error_of;
using testing::HasSubstr;
namespace fs = std::filesystem;

class CorpusBuild : public testing::Test {
 protected:
  void SetUp() override {
    if (run_program({"dpkg-deb", "--version"}, ".").status != 0) GTEST_SKIP() << "dpkg-deb is missing";
    std::string quotes;
    Rng rng(1);
    for (int i = 0; i < 300; ++i) {
      std::string text;
      for (int w = 0; w < 40; ++w) text += fmt::format("{:x} ", rng.next_u32());
      quotes += text + "\n%\n";
    }
    write("fun/usr/share/games/fortunes/wise", quotes + "bad \xFF\n%\n");
    write("fun/usr/share/games/fortunes/wise.dat", "index");
    write("fun/usr/share/doc/fun/copyright", "free");
    write("man/usr/share/man/man1/x.1", ".TH x 1\n.SH NAME\nx \\- prints\n");
    package("fun", "1:2.0-1");
    package("man", "3");
    corpus_.name = "tiny";
    corpus_.sources = {{"tiny", "fun", "quotes", Split::kTrain, "fortunes", "usr/share/games/fortunes/* !*.dat"},
                       {"tiny", "ma*", "manuals", Split::kHeldOut, "man", "usr/share/man/*"}};
    options_.out = folder_ / "out";
    options_.packages_dir = folder_ / "debs";
    options_.rules.min_valid_bytes = 0;
  }
  ~CorpusBuild() override { fs::remove_all(folder_); }

  void write(const std::string& name, const std::string& bytes) {
    fs::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
  }
  void package(const std::string& name, const std::string& version) {
    write(name + "/DEBIAN/control",
          fmt::format("Package: {}\nVersion: {}\nArchitecture: all\nMaintainer: a <a@b.c>\nDescription: x\n", name,
                      version));
    fs::create_directories(folder_ / "debs");
    const ProcessResult result = run_program(
        {"dpkg-deb", "-b", name, "debs/" + name + "_" + version.substr(version.find(':') + 1) + "_all.deb"}, folder_);
    ASSERT_EQ(result.status, 0) << result.errors;
  }

  fs::path folder_ = fs::temp_directory_path() / fmt::format("troupe-corpus-{}", getpid());
  Corpus corpus_;
  BuildOptions options_;
};

TEST_F(CorpusBuild, WritesPartsThatTheTextReaderReads) {
  const BuildResult result = build_corpus(corpus_, options_);
  EXPECT_FALSE(result.already_complete);
  ASSERT_EQ(result.parts.size(), 3u);
  EXPECT_EQ(result.parts[0].file, options_.out / "train/quotes.jsonl");
  EXPECT_EQ(result.parts[1].file, options_.out / "valid/quotes.jsonl");
  EXPECT_EQ(result.parts[2].file, options_.out / "heldout/manuals.jsonl");
  TextOptions options;
  options.meta_field = "source";
  for (const CorpusPart& part : result.parts) {
    const TextStats stats = for_each_document({part.file.string()}, options, [&](Document&& document) {
      EXPECT_EQ(document.meta,
                part.domain == "quotes" ? "fun/usr/share/games/fortunes/wise" : "man/usr/share/man/man1/x.1");
    });
    EXPECT_EQ(stats.documents, part.documents);
    EXPECT_EQ(stats.bytes, part.bytes);
  }
  EXPECT_EQ(result.parts[0].documents + result.parts[1].documents, 300);

  const nlohmann::json manifest = read_json_file(result.manifest);
  EXPECT_EQ(manifest["packages"][0]["version"], "1:2.0-1");
  EXPECT_EQ(manifest["packages"][0]["sha256"].get<std::string>().size(), 64u);
  EXPECT_EQ(manifest["packages"][0]["copyright"], "copyright/fun");
  EXPECT_EQ(manifest["packages"][1]["copyright"], "");
  EXPECT_EQ(manifest["domains"]["quotes"]["parsed"]["skipped_not_utf8"], 1);
  EXPECT_EQ(manifest["domains"]["quotes"]["parsed"]["first_not_utf8"], "fun/usr/share/games/fortunes/wise");
  EXPECT_TRUE(fs::exists(options_.out / "copyright/fun"));
  for (const auto& entry : fs::directory_iterator(folder_))
    EXPECT_EQ(entry.path().filename().string().find(".tmp-"), std::string::npos) << entry.path();
}

TEST_F(CorpusBuild, ReadsAFileOfEveryPackage) {
  write("man/usr/share/doc/man/copyright", "free, too");
  package("man", "3");
  corpus_.sources.push_back({"tiny", "*", "legal", Split::kHeldOut, "text", "usr/share/doc/*/copyright"});
  EXPECT_EQ(corpus_.packages(), (std::vector<std::string>{"fun", "ma*"}));
  const BuildResult result = build_corpus(corpus_, options_);
  ASSERT_EQ(result.parts.size(), 4u);
  EXPECT_EQ(result.parts[2].domain, "legal");
  EXPECT_EQ(result.parts[2].documents, 2);
}

TEST_F(CorpusBuild, RefusesAFileOnBothSides) {
  corpus_.sources.push_back({"tiny", "fun", "sayings", Split::kHeldOut, "fortunes", "usr/share/games/fortunes/w*"});
  EXPECT_THAT(error_of([&] { build_corpus(corpus_, options_); }, ErrorCode::kInternal),
              HasSubstr("fortunes/wise: expected one side for each file, got train (quotes) and heldout (sayings)"));
}

TEST_F(CorpusBuild, FindsACompleteCorpusAndRebuildsADamagedOne) {
  build_corpus(corpus_, options_);
  EXPECT_TRUE(build_corpus(corpus_, options_).already_complete);
  options_.force = true;
  EXPECT_FALSE(build_corpus(corpus_, options_).already_complete);
  options_.force = false;
  std::ofstream(options_.out / "train/quotes.jsonl", std::ios::app) << "{\"text\": \"more\"}\n";
  EXPECT_THAT(error_of([&] { read_corpus(options_.out); }), HasSubstr("train/quotes.jsonl: expected "));
  EXPECT_FALSE(build_corpus(corpus_, options_).already_complete);
  EXPECT_TRUE(build_corpus(corpus_, options_).already_complete);
  options_.rules.max_overlap = 0.02;
  EXPECT_FALSE(build_corpus(corpus_, options_).already_complete);
}

TEST_F(CorpusBuild, RefusesWhatIsNotItsOwn) {
  write("out/thesis.tex", "x");
  EXPECT_THAT(error_of([&] { build_corpus(corpus_, options_); }, ErrorCode::kUsage),
              HasSubstr("--out: expected a new folder or a corpus"));
  EXPECT_TRUE(fs::exists(options_.out / "thesis.tex"));
}

TEST_F(CorpusBuild, NamesMissingPackagesAndFiles) {
  corpus_.sources[0].paths = "usr/share/none/*";
  EXPECT_THAT(error_of([&] { build_corpus(corpus_, options_); }),
              HasSubstr("fun_2.0-1_all.deb: expected files that match usr/share/none/*, got none"));
  EXPECT_FALSE(fs::exists(options_.out));
  corpus_.sources[0].package = "gone";
  corpus_.sources[1].package = "gone-too";
  EXPECT_THAT(error_of([&] { build_corpus(corpus_, options_); }), HasSubstr("got none for gone, gone-too"));
}

TEST_F(CorpusBuild, NamesTheDamagedArchiveAndFile) {
  corpus_.sources[0].parser = "reuters";
  EXPECT_THAT(error_of([&] { build_corpus(corpus_, options_); }),
              HasSubstr("fun/usr/share/games/fortunes/wise: line "));
  write("debs/fun_2.0-1_all.deb", "no archive");
  EXPECT_THAT(error_of([&] { build_corpus(corpus_, options_); }),
              HasSubstr("fun_2.0-1_all.deb: expected a Debian archive: "));
  write("debs/fun_2.0-1_all.deb", "!<arch>\n");
  EXPECT_THAT(error_of([&] { build_corpus(corpus_, options_); }),
              HasSubstr("fun_2.0-1_all.deb: expected a Debian archive: expected control.tar in it, got none"));
}

TEST(CorpusManifest, GivesEveryDomainAFolderOfItsOwn) {
  const test::TemporaryFolder folder;
  const auto error_of_domains = [&](const std::string& first, const std::string& second) {
    nlohmann::ordered_json json = {{"format", kManifestFormat}, {"corpus", "x"}, {"recipe", ""}};
    for (const std::string& domain : {first, second})
      json["parts"].push_back({{"file", "train/a.jsonl"},
                               {"split", "train"},
                               {"domain", domain},
                               {"documents", 1},
                               {"text_bytes", 1},
                               {"file_bytes", 1},
                               {"xxh3", "0"}});
    write_json_file(folder / kManifestName, json);
    return error_of([&] { read_manifest(folder.path()); });
  };
  const std::string file = (folder / kManifestName).string();
  EXPECT_EQ(error_of_domains("a", "b"), "");
  EXPECT_EQ(error_of_domains("a", "a"), file + ": parts[1].domain: expected each domain of train once, got a again");
  for (const char* name : {"../x", "", "a=b", "."})
    EXPECT_THAT(error_of_domains("a", name),
                testing::StartsWith(file + ": parts[1].domain: expected a name that a folder can have"));
}

TEST(CorpusSources, AreConsistent) {
  for (const Corpus& corpus : corpora()) {
    std::map<std::string_view, Split> sides;
    for (const Source& source : corpus.sources) {
      EXPECT_NE(source.side, Split::kValid);
      const auto [at, is_new] = sides.emplace(source.domain, source.side);
      EXPECT_TRUE(is_new || at->second == source.side) << source.domain << " is on both sides";
    }
    EXPECT_EQ(find_corpus(corpus.name).sources.size(), corpus.sources.size());
  }
  EXPECT_THAT(error_of([] { find_corpus("quickstar"); }, ErrorCode::kUsage), HasSubstr("did you mean quickstart?"));
}

TEST(CorpusSources, MatchPathsByPatternsInOrder) {
  EXPECT_TRUE(path_matches("a/*.txt !*/x/*", "a/b/c.txt"));
  EXPECT_FALSE(path_matches("a/*.txt !*/x/*", "a/x/c.txt"));
  EXPECT_TRUE(path_matches("a/*.txt !*/x/* a/x/keep.txt", "a/x/keep.txt"));
  EXPECT_FALSE(path_matches("", "a"));
}

}  // namespace
}  // namespace troupe::corpus
