#include "eval/eval_text.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "data/fairseq/indexed_dataset.h"
#include "eval/tasks/python_text.h"
#include "io/checksum.h"

namespace troupe {
namespace {

std::span<const uint8_t> bytes_of(const auto& values) {
  return {reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(values[0])};
}

void encode_lines(std::string_view text, const Tokenizer& tokenizer, int32_t end_of_text, std::vector<int32_t>& ids) {
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    tokenizer.encode(python::strip(text.substr(0, end)), ids, Tokenizer::AddedTokens::kAsText);
    ids.push_back(end_of_text);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

EvalText& text_for(std::vector<EvalText>& texts, const std::string& name) {
  for (EvalText& text : texts)
    if (text.name == name) return text;
  return texts.emplace_back(EvalText{.name = name});
}

}  // namespace

int64_t EvalText::bytes() const {
  return document_bytes.empty() ? -1 : std::accumulate(document_bytes.begin(), document_bytes.end(), int64_t{0});
}

std::string EvalText::checksum() const {
  const uint64_t parts[2] = {xxh3(bytes_of(ids)), xxh3(bytes_of(begin))};
  return to_hex(xxh3(bytes_of(std::span(parts))));
}

std::vector<EvalText> read_eval_text(const std::string& name, const std::vector<std::string>& paths,
                                     const Tokenizer& tokenizer, const EvalTextOptions& options, TextStats& stats) {
  std::vector<EvalText> texts;
  stats = for_each_document(paths, options.text, [&](Document&& document) {
    EvalText& text = text_for(texts, options.text.meta_field.empty() ? name : name + "/" + document.meta);
    if (options.newline == Newline::kKeep) {
      tokenizer.encode(document.text, text.ids, Tokenizer::AddedTokens::kAsText);
      text.ids.push_back(options.end_of_text);
    } else {
      if (text.documents() > 0) {  // the empty line before this document closes the one before
        text.ids.push_back(options.end_of_text);
        text.begin.back() = text.tokens();
      }
      encode_lines(document.text, tokenizer, options.end_of_text, text.ids);
    }
    text.begin.push_back(text.tokens());
    text.document_bytes.push_back(static_cast<int64_t>(document.text.size()));
  });
  if (texts.empty()) fail(ErrorCode::kData, "{}: expected at least one document, got none", name);
  return texts;
}

EvalText read_eval_shards(const std::string& name, const TokenDataset& dataset, int64_t end_of_text,
                          int64_t max_tokens) {
  if (dataset.vocabulary().end_of_text != end_of_text)
    fail(ErrorCode::kData, "{}: end_of_text: expected the model's eos_id {}, got {}", dataset.path().string(),
         end_of_text, dataset.vocabulary().end_of_text);
  const TokenDataset::Prefix prefix = dataset.prefix(max_tokens);
  EvalText text{.name = name};
  text.ids.resize(static_cast<size_t>(prefix.tokens));
  dataset.read(0, prefix.tokens, text.ids.data());
  for (const TokenShard& shard : dataset.shards()) {
    const int64_t first = text.begin.back();
    for (int64_t document = 0; document < shard.documents() && text.documents() < prefix.documents; ++document) {
      text.begin.push_back(first + shard.document_end(document));
      text.document_bytes.push_back(shard.document_text_bytes(document));
    }
  }
  return text;
}

EvalText read_eval_fairseq(const std::string& name, const std::filesystem::path& prefix, int32_t end_of_text) {
  FairseqLines lines = read_fairseq_lines(prefix);
  if (lines.ids.empty()) fail(ErrorCode::kData, "{}: expected at least one token, got none", prefix.string());
  EvalText text{.name = name};
  for (size_t line = 0; line + 1 < lines.begin.size(); ++line) {
    const int64_t begin = lines.begin[line], end = lines.begin[line + 1];
    if (end == begin + 1 && lines.ids[static_cast<size_t>(begin)] == end_of_text) text.begin.push_back(end);
  }
  text.ids = std::move(lines.ids);
  if (text.begin.back() != text.tokens()) text.begin.push_back(text.tokens());
  return text;
}

}  // namespace troupe
