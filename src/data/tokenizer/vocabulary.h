// From a vocabulary and merges as files write them (in the byte alphabet, or with U+2581 for a space and <0x0A> for a
// byte) to tokens and ids, with every check on the
// way.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data/tokenizer/definition.h"

namespace troupe {

class VocabularyBuilder {
 public:
  // `where` names the vocabulary in messages, e.g. "gpt2/tokenizer.json: model.vocab".
  VocabularyBuilder(TokenizerDefinition& definition, std::string where)
      : definition_(definition), where_(std::move(where)) {}

  void add_token(std::string_view name, int64_t id);
  // `where` names this merge.
  void add_merge(std::string_view left, std::string_view right, const std::string& where);
  // After the vocabulary, before finish().
  void add_added_token(AddedToken token, const std::string& where);
  // -1 if absent.
  int32_t find(std::string_view name) const;
  // Every other rule: what stands for bytes, names in the byte alphabet (byte-level) or characters, ...
  void finish();

 private:
  int32_t require(std::string_view name, const std::string& where) const;
  void reserve_id(int64_t id, const std::string& where);
  void stand_in_for(const std::vector<int>& bytes);
  void finish_byte_level();
  void finish_characters();

  TokenizerDefinition& definition_;
  std::string where_;
  std::unordered_map<std::string, int32_t> ids_;  // by name
  PairTable<int32_t> pairs_;
};

}  // namespace troupe
