#include "cli/tokenizer_speed.h"

#include <omp.h>

#include <algorithm>
#include <ctime>
#include <vector>

#include "base/error.h"
#include "data/tokenizer/bpe_trainer.h"
#include "data/tokenizer/definition.h"

namespace troupe::cli {
namespace {

// Of this thread's processor time.
double processor_seconds_of(const auto& action) {
  const auto now = [] {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  };
  const double start = now();
  action();
  return now() - start;
}

// Sorted times of repeated passes, at least three, for about `seconds`.
std::vector<double> times_of(double seconds, const auto& pass) {
  std::vector<double> times;
  for (double total = 0; total < seconds || times.size() < 3; total += times.back())
    times.push_back(processor_seconds_of(pass));
  std::sort(times.begin(), times.end());
  return times;
}

// Whether no step rewrites text.
bool gives_text_back(const TokenizerDefinition& definition) {
  return definition.normalizers.empty() &&
         std::all_of(definition.pre_tokenizers.begin(), definition.pre_tokenizers.end(), [](const PreTokenizer& step) {
           return !step.add_prefix_space && step.kind != PreTokenizer::Kind::kMetaspace &&
                  step.options.behavior != SplitBehavior::kRemoved;
         });
}

}  // namespace

TokenizerSpeed measure_tokenizer(const Tokenizer& tokenizer, std::span<const std::string> texts, double seconds,
                                 int64_t train_vocab_size) {
  TokenizerSpeed speed;
  std::vector<std::vector<int32_t>> ids;
  for (const std::string& text : texts) {
    ids.push_back(tokenizer.encode(text, Tokenizer::AddedTokens::kAsText));
    speed.bytes += static_cast<int64_t>(text.size());
    speed.tokens += static_cast<int64_t>(ids.back().size());
    if (gives_text_back(tokenizer.definition()) && tokenizer.decode(ids.back()) != text)
      fail(ErrorCode::kInternal, "tokenizer: decoding does not give a text back");
  }
  const auto bytes = static_cast<double>(speed.bytes);

  std::vector<int32_t> out;
  const std::vector<double> encode_times = times_of(seconds, [&] {
    for (const std::string& text : texts) {
      out.clear();
      tokenizer.encode(text, out, Tokenizer::AddedTokens::kAsText);
    }
  });
  speed.encode_bytes_per_s = bytes / encode_times[encode_times.size() / 2];
  speed.encode_best_bytes_per_s = bytes / encode_times.front();

  size_t decoded_bytes = 0;
  const std::vector<double> decode_times = times_of(seconds, [&] {
    decoded_bytes = 0;
    for (const std::vector<int32_t>& text_ids : ids) decoded_bytes += tokenizer.decode(text_ids).size();
  });
  speed.decode_bytes_per_s = static_cast<double>(decoded_bytes) / decode_times[decode_times.size() / 2];

  if (train_vocab_size > 0) {
    const int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    speed.train_bytes_per_s = bytes / processor_seconds_of([&] {
                                BpeTrainer trainer({.vocab_size = train_vocab_size});
                                for (const std::string& text : texts) trainer.add(text);
                                trainer.finish();
                              });
    omp_set_num_threads(threads);
  }
  return speed;
}

}  // namespace troupe::cli
