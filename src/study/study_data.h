// A study's data: a tokenizer trained on the corpus's training domains, and every domain as token shards.
//   OUT/data/tokenizer/tokenizer.json   OUT/data/train/DOMAIN/   OUT/data/valid/DOMAIN/   OUT/data/heldout/DOMAIN/
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace troupe {

struct StudyDomain {
  std::string name;               // "books"
  std::filesystem::path dataset;  // folder of shards
  bool held_out = false;          // a domain no model has seen
  bool in_domain = false;         // held-back text of a domain that is trained on
};

struct StudyData {
  std::filesystem::path tokenizer;
  std::vector<StudyDomain> train;
  std::vector<StudyDomain> evaluation;  // validation of the training domains, then the held-out ones
};

// Reuses what is already there if it was made from the same corpus with the same vocabulary size.
StudyData prepare_study_data(const std::filesystem::path& corpus, int64_t vocab_size, const std::filesystem::path& out);

// Whether it is there, made from this corpus and vocabulary size.
bool is_prepared(const std::filesystem::path& corpus, int64_t vocab_size, const std::filesystem::path& out);

}  // namespace troupe
