#include "data/tokenizer/bpe_trainer.h"

#include <algorithm>
#include <atomic>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "base/threads.h"
#include "data/tokenizer/byte_alphabet.h"
#include "data/tokenizer/definition.h"
#include "data/tokenizer/merge_learner.h"
#include "data/tokenizer/word_counts.h"
#include "data/tokenizer/word_splitter.h"

namespace troupe {
namespace {

constexpr size_t kBatchBytes = 64 << 20, kPieceBytes = 256 << 10;

// A place at or after `from` where no word of GPT-2's pattern can continue: white space after something else, both
// ASCII. No word contains such a place, and white space before it decides nothing behind it.
size_t safe_cut(std::string_view text, size_t from) {
  for (size_t i = std::max<size_t>(from, 1); i < text.size(); ++i) {
    const AsciiClass before = kAsciiClass[static_cast<uint8_t>(text[i - 1])];
    if (before != AsciiClass::kSpace && before != AsciiClass::kNotAscii &&
        kAsciiClass[static_cast<uint8_t>(text[i])] == AsciiClass::kSpace)
      return i;
  }
  return text.size();
}

}  // namespace

struct BpeTrainer::State {
  struct Worker {
    explicit Worker(const WordSplitter& splitter) : matcher(splitter) {}
    WordSplitter::Matcher matcher;
    WordCounts counts;
    int64_t words = 0;
  };

  BpeTrainerOptions options;
  WordSplitter splitter{kGpt2Pattern, "GPT-2's pattern"};
  std::vector<std::unique_ptr<Worker>> workers;
  std::string batch;
  std::vector<size_t> ends;  // of the texts in `batch`
  Stats stats;

  void count_batch() {
    std::vector<std::string_view> pieces;
    size_t begin = 0;
    for (const size_t end : ends) {
      std::string_view text = std::string_view(batch).substr(begin, end - begin);
      while (!text.empty()) {
        const size_t cut = safe_cut(text, kPieceBytes);
        pieces.push_back(text.substr(0, cut));
        text.remove_prefix(cut);
      }
      begin = end;
    }
    while (workers.size() < static_cast<size_t>(num_threads())) workers.push_back(std::make_unique<Worker>(splitter));
    std::atomic<size_t> next = 0;
    parallel_for(static_cast<int64_t>(workers.size()), [&](int64_t w) {
      Worker& worker = *workers[static_cast<size_t>(w)];
      for (size_t i = next++; i < pieces.size(); i = next++)
        worker.matcher.split(pieces[i], [&](std::string_view word) {
          worker.counts.add(word);
          ++worker.words;
        });
    });
    batch.clear();
    ends.clear();
  }
};

BpeTrainer::BpeTrainer(const BpeTrainerOptions& options) : state_(std::make_unique<State>()) {
  if (options.vocab_size < 257 || options.vocab_size > kMaxTokenId + 1)
    fail(ErrorCode::kUsage, "vocab_size: expected 257 (end of text and 256 bytes) to {}, got {}", kMaxTokenId + 1,
         options.vocab_size);
  state_->options = options;
}

BpeTrainer::~BpeTrainer() = default;

void BpeTrainer::add(std::string_view text) {
  state_->batch += text;
  state_->ends.push_back(state_->batch.size());
  ++state_->stats.texts;
  state_->stats.bytes += static_cast<int64_t>(text.size());
  if (state_->batch.size() >= kBatchBytes) state_->count_batch();
}

Tokenizer BpeTrainer::finish(const std::function<void(int64_t symbols)>& progress) {
  state_->count_batch();
  WordCounts all = std::move(state_->workers.front()->counts);
  for (const auto& worker : state_->workers) {
    if (worker != state_->workers.front())
      worker->counts.for_each([&](std::string_view word, int64_t count) { all.add(word, count); });
    state_->stats.words += worker->words;
  }
  state_->stats.distinct_words = static_cast<int64_t>(all.size());
  state_->workers.clear();

  TokenizerDefinition definition;
  using Kind = TokenizerDefinition::Kind;
  definition.tokens.push_back({Kind::kModel, std::string(kEndOfText)});
  definition.added.push_back({.content = std::string(kEndOfText), .id = 0, .special = true});
  for (const uint8_t byte : byte_alphabet_order()) {
    definition.byte_ids[byte] = static_cast<int32_t>(definition.tokens.size());
    definition.tokens.push_back({Kind::kModel, std::string(1, static_cast<char>(byte))});
  }
  constexpr int32_t kFirst = 1;  // the id of symbol 0
  std::unordered_map<std::string, int32_t> known;
  for (const auto& [left, right] :
       learn_merges(all, state_->options.vocab_size - kFirst, state_->options.min_count, progress)) {
    const std::string bytes = definition.tokens[static_cast<size_t>(left + kFirst)].bytes +
                              definition.tokens[static_cast<size_t>(right + kFirst)].bytes;
    const auto [found, fresh] = known.emplace(bytes, static_cast<int32_t>(definition.tokens.size()));
    if (fresh) definition.tokens.push_back({Kind::kModel, bytes});
    definition.merges.push_back({left + kFirst, right + kFirst, found->second});
  }
  return Tokenizer(std::move(definition));
}

const BpeTrainer::Stats& BpeTrainer::stats() const { return state_->stats; }

}  // namespace troupe
