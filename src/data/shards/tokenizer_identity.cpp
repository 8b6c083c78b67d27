#include "data/shards/tokenizer_identity.h"

#include "base/error.h"
#include "data/shards/encode_text.h"
#include "data/tokenizer/sentencepiece.h"
#include "io/atomic_file.h"
#include "io/checksum.h"

namespace troupe {

namespace fs = std::filesystem;

bool has_tokenizer(const fs::path& folder) {
  const auto there = [&](const char* name) { return fs::exists(folder / name); };
  return there("tokenizer.json") || (there("encoder.json") && there("vocab.bpe")) ||
         (there("vocab.json") && there("merges.txt")) || there(kSentencePieceFile);
}

bool is_tokenizer(const fs::path& path, uint64_t checksum) {
  // A copy of what the shards were written with is known by its bytes, whatever a later program writes.
  const fs::path file = fs::is_directory(path) ? path / "tokenizer.json" : path;
  if (fs::exists(file) && xxh3(read_file(file)) == checksum) return true;
  return checksum_of(Tokenizer::load(path.string())) == checksum;
}

void check_tokenizer_copy(const TokenDataset& dataset) {
  const fs::path file = dataset.tokenizer_path();
  if (fs::exists(file) && !is_tokenizer(file, dataset.vocabulary().tokenizer))
    fail(ErrorCode::kData, "{}: expected the tokenizer that wrote the shards beside it ({}), got another one ({})",
         file.string(), to_hex(dataset.vocabulary().tokenizer), to_hex(checksum_of(Tokenizer::load(file.string()))));
}

}  // namespace troupe
