#include "data/shards/encode_text.h"

#include "base/error.h"
#include "base/threads.h"
#include "data/shards/dataset.h"
#include "data/tokenizer/definition.h"
#include "io/checksum.h"

namespace troupe {
namespace {

constexpr size_t kEncodedBytes = 8 << 20;  // text that is encoded in one parallel region
constexpr size_t kBatchDocuments = 1 << 16;

// Documents that wait to be encoded, and their ids. Memory is kept from batch to batch.
class EncodeBatch {
 public:
  EncodeBatch(const Tokenizer& tokenizer, DatasetWriter& writer) : tokenizer_(tokenizer), writer_(writer) {}

  void add(std::string&& text) {
    bytes_ += text.size();
    texts_.push_back(std::move(text));
  }
  bool full() const { return bytes_ >= kEncodedBytes || texts_.size() >= kBatchDocuments; }

  void flush() {
    if (ids_.size() < texts_.size()) ids_.resize(texts_.size());
    parallel_for(static_cast<int64_t>(texts_.size()), [&](int64_t i) {
      const auto at = static_cast<size_t>(i);
      ids_[at].clear();
      tokenizer_.encode(texts_[at], ids_[at], Tokenizer::AddedTokens::kAsText);
    });
    for (size_t i = 0; i < texts_.size(); ++i) writer_.add(ids_[i], static_cast<int64_t>(texts_[i].size()));
    texts_.clear();
    bytes_ = 0;
  }

 private:
  const Tokenizer& tokenizer_;
  DatasetWriter& writer_;
  std::vector<std::string> texts_;
  std::vector<std::vector<int32_t>> ids_;
  size_t bytes_ = 0;
};

}  // namespace

uint64_t checksum_of(const Tokenizer& tokenizer) { return xxh3(tokenizer_json(tokenizer.definition())); }

EncodeStats encode_text(const std::vector<std::string>& inputs, const Tokenizer& tokenizer,
                        const std::filesystem::path& out, const EncodeOptions& options,
                        const EncodeProgress& progress) {
  if (tokenizer.end_of_text() < 0)
    fail(ErrorCode::kUsage, "--tokenizer: expected a token {} to end documents with, got none", kEndOfText);
  DatasetWriter writer(
      out,
      {.size = tokenizer.vocab_size(), .end_of_text = tokenizer.end_of_text(), .tokenizer = checksum_of(tokenizer)},
      options.shard_tokens);
  EncodeBatch batch(tokenizer, writer);
  EncodeStats stats;
  const auto flush = [&] {
    batch.flush();
    stats.documents = writer.documents();
    stats.tokens = writer.tokens();
    stats.text_bytes = writer.text_bytes();
    if (progress) progress(stats);
  };
  stats.text = for_each_document(inputs, options.text, [&](Document&& document) {
    batch.add(std::move(document.text));
    if (batch.full()) flush();
  });
  flush();
  tokenizer.save((writer.path() / "tokenizer.json").string());
  writer.finish();
  return stats;
}

}  // namespace troupe
