#include "eval/tasks/metrics.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/unicode.h"
#include "base/utf8.h"
#include "eval/tasks/python_text.h"

namespace troupe {
namespace {

double score_of(const PromptSpec& spec, Convention convention, Metric metric, const Item& item,
                const ItemScores& scores, size_t c) {
  if (convention == Convention::kPaper) {
    if (spec.score == PaperScore::kMean) return scores.logprob[c] / static_cast<double>(scores.tokens[c]);
    return scores.logprob[c] - (scores.calibration.empty() ? 0.0 : scores.calibration[c]);
  }
  switch (metric) {
    case Metric::kAccNorm:
      return scores.logprob[c] / static_cast<double>(count_characters(item.choice(c)));
    case Metric::kAccBytes:
      return scores.logprob[c] / static_cast<double>(item.choice(c).size());
    default:
      return scores.logprob[c];
  }
}

// SQuAD's re.sub(r"\b(a|an|the)\b", " ", text): an article is one between characters that are in no word.
std::string without_articles(const std::string& text) {
  const auto in_word = [](std::string_view character) {
    const char32_t c = code_point(character);
    return c == '_' || (c >= '0' && c <= '9') || unicode::is_letter(c);
  };
  std::string out, word;
  const auto close = [&] {
    out += word == "a" || word == "an" || word == "the" ? " " : word;
    word.clear();
  };
  for (const std::string_view character : characters(text)) {
    if (in_word(character)) {
      word += character;
    } else {
      close();
      out += character;
    }
  }
  close();
  return out;
}

double macro_f1(std::span<const Item* const> items, std::span<const double> choices) {
  size_t positions = 0;
  for (const Item* item : items) positions = std::max(positions, item->candidates());
  double sum = 0.0;
  for (size_t position = 0; position < positions; ++position) {
    double both = 0.0, gold = 0.0, predicted = 0.0;
    for (size_t i = 0; i < items.size(); ++i) {
      const bool is_gold = items[i]->gold[0] == static_cast<int>(position),
                 is_chosen = choices[i] == static_cast<double>(position);
      both += is_gold && is_chosen, gold += is_gold, predicted += is_chosen;
    }
    sum += gold + predicted > 0.0 ? 2.0 * both / (gold + predicted) : 0.0;
  }
  return sum / static_cast<double>(positions);
}

}  // namespace

std::string squad_normalized(std::string_view text) {
  constexpr std::string_view kPunctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";
  std::string plain;
  for (const char c : unicode::lower(text))
    if (kPunctuation.find(c) == kPunctuation.npos) plain += c;
  std::string result;
  for (const std::string& word : python::split(without_articles(plain))) result += (result.empty() ? "" : " ") + word;
  return result;
}

double squad_f1(std::string_view prediction, std::string_view answer) {
  const std::vector<std::string> predicted = python::split(squad_normalized(prediction)),
                                 gold = python::split(squad_normalized(answer));
  if (predicted.empty() || gold.empty()) return predicted == gold ? 1.0 : 0.0;
  std::map<std::string, int> left;
  for (const std::string& word : gold) ++left[word];
  double common = 0.0;
  for (const std::string& word : predicted)
    if (left[word]-- > 0) ++common;
  return 2.0 * common / static_cast<double>(predicted.size() + gold.size());
}

size_t chosen(const PromptSpec& spec, Convention convention, Metric metric, const Item& item,
              const ItemScores& scores) {
  size_t best = 0;
  for (size_t c = 1; c < item.candidates(); ++c)
    if (score_of(spec, convention, metric, item, scores, c) > score_of(spec, convention, metric, item, scores, best))
      best = c;
  return best;
}

double item_value(const PromptSpec& spec, Convention convention, Metric metric, const Item& item,
                  const ItemScores& scores) {
  if (metric == Metric::kGreedy) return scores.is_greedy[0];
  if (metric == Metric::kPerplexity) return scores.logprob[0];
  const size_t choice = chosen(spec, convention, metric, item, scores);
  double best = 0.0;
  switch (metric) {
    case Metric::kMacroF1:
      return static_cast<double>(choice);
    case Metric::kSquadF1:
      for (const std::string& answer : item.answers) best = std::max(best, squad_f1(item.labels[choice], answer));
      return best;
    case Metric::kSquadEm:
      for (const std::string& answer : item.answers)
        if (squad_normalized(item.labels[choice]) == squad_normalized(answer)) best = 1.0;
      return best;
    default:
      return std::find(item.gold.begin(), item.gold.end(), static_cast<int>(choice)) != item.gold.end() ? 1.0 : 0.0;
  }
}

Estimate metric_value(Metric metric, std::span<const Item* const> items, std::span<const double> values) {
  if (metric == Metric::kMacroF1) return {macro_f1(items, values), kNan};
  const Estimate mean = mean_of(values);
  if (metric != Metric::kPerplexity) return mean;
  const double perplexity = std::exp(-mean.value);
  return {perplexity, perplexity * mean.standard_error};
}

}  // namespace troupe
