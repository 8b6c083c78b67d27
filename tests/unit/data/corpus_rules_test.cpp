// The rules that keep held-out text unseen, on texts made for them.
#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <omp.h>

#include "base/rng.h"
#include "data/corpus/furniture.h"
#include "data/corpus/ngrams.h"
#include "data/corpus/rules.h"

namespace troupe::corpus {
namespace {

// Distinct words, so that no two texts share an n-gram unless one is made of the other.
std::string words(uint64_t seed, int count) {
  Rng rng(seed);
  std::string text;
  for (int i = 0; i < count; ++i) text += fmt::format("{}w{:x}", i ? " " : "", rng.next_u64());
  return text;
}

CorpusDocument document(std::string text, Split split = Split::kTrain, std::string domain = "a") {
  return {std::move(text), "package/path", std::move(domain), split};
}

RuleOptions without_validation() {
  RuleOptions options;
  options.valid_share = options.max_valid_share = 0;
  options.min_valid_bytes = 0;
  return options;
}

std::vector<std::string> texts(const std::vector<CorpusDocument>& documents) {
  std::vector<std::string> list;
  for (const CorpusDocument& d : documents) list.push_back(d.text);
  return list;
}

TEST(CorpusRules, KeepTheTrainingCopyOfExactDuplicates) {
  const std::string x = words(1, 30), y = words(2, 30), z = words(3, 30);
  std::vector<CorpusDocument> documents = {
      document(x, Split::kHeldOut, "h"), document(y), document(x), document(y), document(z, Split::kHeldOut, "h"),
      document(z, Split::kHeldOut, "h")};
  const auto reports = apply_rules(documents, without_validation());
  EXPECT_THAT(texts(documents), testing::ElementsAre(y, x, z));
  EXPECT_EQ(reports.at("h").exact_duplicates.documents, 2);
  EXPECT_EQ(reports.at("a").exact_duplicates.documents, 1);
  EXPECT_EQ(reports.at("h").parsed.documents, 3);
  EXPECT_EQ(reports.at("h").kept[static_cast<size_t>(Split::kHeldOut)].bytes, static_cast<int64_t>(z.size()));
}

TEST(CorpusRules, FillHeldOutDomainsByHashUpToTheirSize) {
  std::vector<CorpusDocument> documents;
  for (uint64_t i = 0; i < 20; ++i) documents.push_back(document(words(i, 30), Split::kHeldOut, i % 2 ? "h" : "g"));
  for (uint64_t i = 20; i < 30; ++i) documents.push_back(document(words(i, 30)));
  RuleOptions options = without_validation();
  options.max_heldout_bytes = 1000;
  std::vector<CorpusDocument> reversed(documents.rbegin(), documents.rend());
  const auto reports = apply_rules(documents, options);
  apply_rules(reversed, options);
  for (const char* domain : {"g", "h"}) {
    const DomainReport::Counts& kept = reports.at(domain).kept[static_cast<size_t>(Split::kHeldOut)];
    EXPECT_GE(kept.bytes, 1000);
    EXPECT_LT(kept.bytes, 1000 + 600);
    EXPECT_EQ(reports.at(domain).beyond_cap.documents, 10 - kept.documents);
  }
  EXPECT_EQ(reports.at("a").kept[0].documents, 10);
  EXPECT_THAT(texts(documents), testing::UnorderedElementsAreArray(texts(reversed)));
}

TEST(Furniture, IsWhatHalfOfThePagesRepeatAtTheirEdges) {
  std::vector<std::string> pages;
  for (int i = 0; i < 12; ++i)
    pages.push_back(fmt::format("Home\nMenu {}\n\nTitle {}\n{}\n\nLast edited", i, i, i % 3 ? "Text" : words(1, 3)));
  pages.push_back("Home\n\nLast edited");
  std::vector<std::string*> all;
  for (std::string& page : pages) all.push_back(&page);
  std::vector<std::string*> few(all.begin(), all.begin() + 9);
  drop_furniture(few);
  EXPECT_THAT(pages[1], testing::StartsWith("Home\n"));
  drop_furniture(all);
  EXPECT_EQ(pages[0], "Menu 0\n\nTitle 0\n" + words(1, 3));
  EXPECT_EQ(pages[1], "Menu 1\n\nTitle 1");
  EXPECT_EQ(pages[12], "");
}

TEST(CorpusRules, DropNearDuplicatesWithinTraining) {
  const std::string x = words(1, 104);
  std::vector<CorpusDocument> documents = {document(x), document(x + " and " + words(7, 10)),
                                           document(x + words(8, 100))};
  const auto reports = apply_rules(documents, without_validation());
  EXPECT_EQ(documents.size(), 2u);
  EXPECT_EQ(reports.at("a").near_duplicates.documents, 1);
}

TEST(CorpusRules, DropHeldOutTextThatStandsInTraining) {
  // 1,212 words have 1,200 n-grams of 13 words. A training text with 24 of these words in a row shares 12 of them: 1 %,
  // which is allowed; 25 words in a row share 13: more than 1 %.
  const std::string held = words(1, 1212);
  size_t at = 0;
  std::vector<size_t> ends;
  for (; at != std::string::npos; at = held.find(' ', at + 1))
    if (at) ends.push_back(at);
  for (const int shared : {24, 25}) {
    std::vector<CorpusDocument> documents = {
        document(held.substr(0, ends[static_cast<size_t>(shared) - 1]) + " " + words(2, 90)),
        document(held, Split::kHeldOut, "h")};
    const auto reports = apply_rules(documents, without_validation());
    const auto& report = reports.at("h");
    EXPECT_EQ(documents.size(), shared == 24 ? 2u : 1u);
    EXPECT_EQ(report.overlapping.documents, shared == 24 ? 0 : 1);
    EXPECT_EQ(report.ngrams[static_cast<size_t>(Split::kHeldOut)], shared == 24 ? 1200 : 0);
    EXPECT_EQ(report.shared_ngrams[static_cast<size_t>(Split::kHeldOut)], shared == 24 ? 12 : 0);
  }
}

TEST(CorpusRules, HeldOutTextMayRepeatItself) {
  const std::string x = words(1, 60);
  std::vector<CorpusDocument> documents = {document(x + " " + words(2, 60), Split::kHeldOut, "h"),
                                           document(x + " " + words(3, 60), Split::kHeldOut, "h"),
                                           document(words(4, 60))};
  apply_rules(documents, without_validation());
  EXPECT_EQ(documents.size(), 3u);
}

class Validation : public testing::Test {
 protected:
  // Every fifth text begins with the same phrase, and so overlaps with others.
  Validation() {
    const std::string phrase = words(9, 40);
    for (uint64_t i = 0; i < 2000; ++i)
      documents_.push_back(document((i % 5 == 0 ? phrase + " " : "") + words(1000 + i, 60)));
    options_.min_valid_bytes = 0;
  }
  // Bytes in validation over bytes in all; one document more than wanted is at most 0.0007.
  double valid_share() const {
    double valid = 0, all = 0;
    for (const CorpusDocument& d : documents_) {
      all += static_cast<double>(d.text.size());
      if (d.split == Split::kValid) valid += static_cast<double>(d.text.size());
    }
    return valid / all;
  }

  std::vector<CorpusDocument> documents_;
  RuleOptions options_;
};

TEST_F(Validation, HasItsShareAndNothingThatStandsInTraining) {
  const auto report = apply_rules(documents_, options_).at("a");
  EXPECT_EQ(documents_.size(), 2000u);
  EXPECT_NEAR(valid_share(), 0.02, 0.0007);
  EXPECT_GT(report.passed_over.documents, 0);
  EXPECT_EQ(report.shared_ngrams[static_cast<size_t>(Split::kValid)], 0);
  for (const CorpusDocument& d : documents_) {
    if (d.split == Split::kValid) {
      EXPECT_EQ(word_hashes(d.text).size(), 60u) << "has the phrase";
    }
  }
}

TEST_F(Validation, GrowsInSmallDomainsUpToItsLimit) {
  options_.min_valid_bytes = 1 << 30;
  apply_rules(documents_, options_);
  EXPECT_NEAR(valid_share(), 0.05, 0.0007);
}

TEST_F(Validation, DependsOnTheTextAloneNotOnThreadsOrOrder) {
  auto again = documents_;
  std::reverse(again.begin(), again.end());
  apply_rules(documents_, options_);
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  apply_rules(again, options_);
  omp_set_num_threads(threads);
  std::map<std::string, Split> splits;
  for (const CorpusDocument& d : again) splits[d.text] = d.split;
  for (const CorpusDocument& d : documents_) EXPECT_EQ(splits.at(d.text), d.split);
}

TEST(CleanText, KeepsWordsAndDropsControlCharacters) {
  EXPECT_EQ(clean_text("\n\n a  \r\nb\t\n\n\n\nc\x07\x1b d\n\n"), " a\nb\n\nc d");
  EXPECT_EQ(clean_text("_\bu_\bnder X\bXbold \xC3\xA9\be"), "under Xbold e");
  EXPECT_EQ(clean_text("\xEF\xBB\xBFmark"), "mark");
  EXPECT_EQ(clean_text("bad \xFF"), "");
  EXPECT_EQ(clean_text(" \n\t\n"), "");
}

}  // namespace
}  // namespace troupe::corpus
