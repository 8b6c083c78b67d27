#include "train/packed_texts.h"

#include <algorithm>
#include <functional>

#include "base/rng.h"
#include "data/loader/permutation.h"

namespace troupe {
namespace {

constexpr uint64_t kTextStream = 0x74657874;

// Where texts stand in rows: the longest first, each in the row that is the shortest so far. So rows end up about as long
// as each other, and little of a batch is filling (Graham 1969, Bounds on multiprocessing timing anomalies).
struct Layout {
  std::vector<std::vector<const TrainingText*>> rows;
  int64_t S = 1;  // the longest row

  Layout(std::span<const TrainingText* const> texts, int64_t context) {
    int64_t room = std::min(kRowTokens, context), tokens = 0;
    for (const TrainingText* text : texts) room = std::max(room, text->inputs()), tokens += text->inputs();
    std::vector<const TrainingText*> longest_first(texts.begin(), texts.end());
    std::ranges::stable_sort(longest_first, std::ranges::greater(), &TrainingText::inputs);
    const auto most = static_cast<int64_t>(texts.size());
    for (int64_t num_rows = std::max<int64_t>(1, (tokens + room - 1) / room); num_rows <= std::max<int64_t>(1, most);
         ++num_rows)
      if (lay_out(longest_first, num_rows) <= room) return;
  }

 private:
  int64_t lay_out(const std::vector<const TrainingText*>& texts, int64_t num_rows) {
    rows.assign(static_cast<size_t>(num_rows), {});
    std::vector<int64_t> used(rows.size(), 0);
    for (const TrainingText* text : texts) {
      const auto at = static_cast<size_t>(std::ranges::min_element(used) - used.begin());
      rows[at].push_back(text);
      used[at] += text->inputs();
    }
    return S = std::max<int64_t>(1, std::ranges::max(used));
  }
};

Batch to_batch(const Layout& layout, int64_t S, const Filling& filling) {
  Batch batch{.B = static_cast<int64_t>(layout.rows.size()), .S = S};
  const auto T = static_cast<size_t>(batch.tokens());
  batch.src.assign(T, filling.id), batch.tgt.assign(T, -1), batch.begins_text.assign(T, 0);
  batch.texts_apart = true;
  for (size_t row = 0; row < layout.rows.size(); ++row) {
    size_t at = row * static_cast<size_t>(S);
    for (const TrainingText* text : layout.rows[row]) {
      batch.begins_text[at] = 1;
      for (size_t i = 0; i + 1 < text->ids.size(); ++i, ++at) {
        batch.src[at] = text->ids[i];
        if (text->scored[i + 1]) batch.tgt[at] = text->ids[i + 1];
      }
    }
    if (at < (row + 1) * static_cast<size_t>(S)) batch.begins_text[at] = 1;  // the filling
  }
  return batch;
}

std::vector<double> weights_of(const std::vector<TextSource>& sources) {
  std::vector<double> weights;
  for (const TextSource& source : sources)
    weights.push_back(source.weight > 0.0 ? source.weight : static_cast<double>(source.texts.size()));
  return weights;
}

}  // namespace

int64_t TrainingText::num_scored() const {
  return std::count_if(scored.begin(), scored.end(), [](uint8_t counts) { return counts != 0; });
}

bool TrainingText::shorten(int64_t limit) {
  const int64_t over = inputs() - limit;
  if (over <= 0) return false;
  ids.erase(ids.begin(), ids.begin() + over);
  scored.erase(scored.begin(), scored.begin() + over);
  scored.front() = 0;
  return true;
}

TrainingText text_of(std::span<const int32_t> context, std::span<const int32_t> answer, int64_t limit) {
  TrainingText text;
  text.ids.assign(context.begin(), context.end());
  text.ids.insert(text.ids.end(), answer.begin(), answer.end());
  text.scored.assign(context.size(), 0);
  text.scored.resize(text.ids.size(), 1);
  text.shorten(limit);
  return text;
}

std::vector<TrainingText> pieces_of(std::span<const int32_t> ids, int64_t limit) {
  std::vector<TrainingText> pieces;
  const auto size = static_cast<int64_t>(ids.size());
  for (int64_t begin = 0; begin + 1 < size; begin += limit) {
    const std::span<const int32_t> piece =
        ids.subspan(static_cast<size_t>(begin), static_cast<size_t>(std::min(limit + 1, size - begin)));
    pieces.push_back(text_of(piece.first(1), piece.subspan(1), limit));
  }
  return pieces;
}

Batch pack(std::span<const TrainingText* const> texts, const Filling& filling) {
  const Layout layout(texts, filling.context);
  return to_batch(layout, layout.S, filling);
}

std::vector<Batch> batches_of(std::span<const TrainingText> texts, size_t at_a_time, const Filling& filling) {
  std::vector<Batch> batches;
  for (size_t begin = 0; begin < texts.size(); begin += at_a_time) {
    std::vector<const TrainingText*> some;
    for (const TrainingText& text : texts.subspan(begin, std::min(at_a_time, texts.size() - begin)))
      some.push_back(&text);
    batches.push_back(pack(some, filling));
  }
  return batches;
}

TextLoader::TextLoader(std::vector<TextSource> sources, const Options& options)
    : sources_(std::move(sources)), mixture_(weights_of(sources_)), options_(options) {}

int64_t TextLoader::texts_per_epoch() const {
  int64_t texts = 0;
  for (const TextSource& source : sources_) texts += static_cast<int64_t>(source.texts.size());
  return texts;
}

int64_t TextLoader::steps_per_epoch() const {
  return (texts_per_epoch() + options_.batch_texts - 1) / options_.batch_texts;
}

// Every time through a source is an order of its own.
const TrainingText& TextLoader::text(size_t source, int64_t number) const {
  const std::vector<TrainingText>& texts = sources_[source].texts;
  const auto n = static_cast<int64_t>(texts.size());
  const uint64_t key = mix_key(mix_key(mix_key(options_.seed, kTextStream), source), static_cast<uint64_t>(number / n));
  return texts[Permutation(key, texts.size())(static_cast<uint64_t>(number % n))];
}

std::vector<const TrainingText*> TextLoader::texts_of(int64_t step, int64_t micro) const {
  const int64_t per_epoch = steps_per_epoch(), texts = texts_per_epoch(), batch = options_.batch_texts;
  const int64_t epoch = step / per_epoch, begin = step % per_epoch * batch, count = std::min(batch, texts - begin);
  const int64_t first = micro * count / options_.micro_batches, last = (micro + 1) * count / options_.micro_batches;
  Mixture::State state = mixture_.after(epoch * texts + begin + first);
  std::vector<const TrainingText*> chosen;
  for (int64_t i = first; i < last; ++i) {
    const size_t source = state.next();
    chosen.push_back(&text(source, state.count()[source] - 1));
  }
  return chosen;
}

// Rows of all parts of an update are equally long, so that each token has a number of its own for dropout.
Batch TextLoader::batch(int64_t step, int64_t micro) const {
  int64_t S = 1, rows_before = 0;
  std::vector<Layout> parts;
  for (int64_t i = 0; i < options_.micro_batches; ++i) {
    parts.emplace_back(texts_of(step, i), options_.filling.context);
    S = std::max(S, parts.back().S);
    if (i < micro) rows_before += static_cast<int64_t>(parts.back().rows.size());
  }
  Batch batch = to_batch(parts[static_cast<size_t>(micro)], S, options_.filling);
  batch.first_sequence = rows_before;
  return batch;
}

}  // namespace troupe
