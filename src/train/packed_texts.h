// Texts of which a part is learnt, side by side in rows: what an update of fine-tuning reads. Attention stays inside
// each text, whose positions begin anew. A batch is a pure function of (seed, step), as the loader's.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/loader/mixture.h"
#include "model/batch.h"

namespace troupe {

struct TrainingText {
  std::vector<int32_t> ids;     // the first is input only
  std::vector<uint8_t> scored;  // by id: whether its prediction counts; the first's is none

  int64_t inputs() const { return static_cast<int64_t>(ids.size()) - 1; }
  int64_t num_scored() const;
  bool shorten(int64_t limit);  // to so many inputs, by tokens on the left; false if it is no longer
};

// `context` then `answer`, of which the answer counts. Loses tokens on the left so that at most `limit` are inputs.
TrainingText text_of(std::span<const int32_t> context, std::span<const int32_t> answer, int64_t limit);
// Pieces of at most `limit` inputs in which every token but the very first counts once.
std::vector<TrainingText> pieces_of(std::span<const int32_t> ids, int64_t limit);

// What fills rows up behind their texts.
struct Filling {
  int32_t id = 0;       // padding where the model knows some, else end-of-text
  int64_t context = 0;  // longest row
};

// Short texts share rows of at most this length: what is masked in them is little.
inline constexpr int64_t kRowTokens = 256;

// The texts in as few rows of about the same length as are at most as long as the longest text, or min(kRowTokens,
// context) where that is more.
Batch pack(std::span<const TrainingText* const> texts, const Filling& filling);
// All of them in order, `at_a_time` in a batch.
std::vector<Batch> batches_of(std::span<const TrainingText> texts, size_t at_a_time, const Filling& filling);

struct TextSource {
  std::string name;
  std::vector<TrainingText> texts;
  double weight = 0.0;  // share of the texts of an epoch, relative to the others; 0 for all: by their numbers
};

class TextLoader {
 public:
  struct Options {
    uint64_t seed = 1;
    int64_t batch_texts = 16;  // of an update; the last one of an epoch has the rest
    int64_t micro_batches = 1;
    Filling filling;
  };
  // Sources have texts, and weights all or none.
  TextLoader(std::vector<TextSource> sources, const Options& options);

  int64_t steps_per_epoch() const;
  int64_t texts_per_epoch() const;
  // A part of update `step`; one without a text is a row of one token that does not count.
  Batch batch(int64_t step, int64_t micro) const;
  const std::vector<TextSource>& sources() const { return sources_; }

 private:
  std::vector<const TrainingText*> texts_of(int64_t step, int64_t micro) const;
  const TrainingText& text(size_t source, int64_t number) const;

  std::vector<TextSource> sources_;
  Mixture mixture_;
  Options options_;
};

}  // namespace troupe
