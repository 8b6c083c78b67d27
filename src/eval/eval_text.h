// Text to be scored: documents as token ids, one after the other.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/shards/dataset.h"
#include "data/text/reader.h"
#include "data/tokenizer/tokenizer.h"

namespace troupe {

struct EvalText {
  std::string name;
  std::vector<int32_t> ids;             // every document closed by the end-of-text token
  std::vector<int64_t> begin{0};        // [documents + 1] first id of each document
  std::vector<int64_t> document_bytes;  // of the original text, [documents]; empty if unknown

  int64_t documents() const { return static_cast<int64_t>(begin.size()) - 1; }
  int64_t tokens() const { return static_cast<int64_t>(ids.size()); }
  int64_t bytes() const;         // -1 if unknown
  std::string checksum() const;  // XXH3-64 of ids and document starts, 16 hexadecimal digits
};

// What the end of a line becomes.
enum class Newline {
  kKeep,       // a token like any other: a document is encoded as it stands
  kEndOfText,  // end-of-text, as in the study's corpora: each line stripped and encoded on its own; a lone end-of-text
               // (an empty line) separates documents
};
template <>
struct EnumNames<Newline> {
  static constexpr std::array<std::pair<std::string_view, Newline>, 2> values = {
      {{"keep", Newline::kKeep}, {"eos", Newline::kEndOfText}}};
};

struct EvalTextOptions {
  TextOptions text;  // meta_field splits the documents into one EvalText per value, "NAME/VALUE"
  Newline newline = Newline::kKeep;
  int32_t end_of_text = 0;  // id
};

// From text files and folders (data/text/reader.h). Appends to `stats`. Throws kData if there is no document.
std::vector<EvalText> read_eval_text(const std::string& name, const std::vector<std::string>& paths,
                                     const Tokenizer& tokenizer, const EvalTextOptions& options, TextStats& stats);

// From token shards (troupe encode): the first max_tokens tokens, cut at a document (0: all). Throws kData if their
// end-of-text is another id. Whether their tokenizer is the model's is for the caller to ask
// (data/shards/tokenizer_identity.h).
EvalText read_eval_shards(const std::string& name, const TokenDataset& dataset, int64_t end_of_text,
                          int64_t max_tokens = 0);

// From fairseq's binary ids (PREFIX.bin, PREFIX.idx): a line that is a lone end-of-text closes a document.
EvalText read_eval_fairseq(const std::string& name, const std::filesystem::path& prefix, int32_t end_of_text);

}  // namespace troupe
