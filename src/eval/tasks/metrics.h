// From scores of candidates to figures.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "eval/statistics.h"
#include "eval/tasks/items.h"

namespace troupe {

// What the model said about one item.
struct ItemScores {
  std::vector<double> logprob;      // per candidate, of its scored tokens together
  std::vector<int64_t> tokens;      // scored
  std::vector<double> calibration;  // what is subtracted; empty without
  std::vector<uint8_t> is_greedy;
};

// The candidate that a convention and metric choose; the first of equals.
size_t chosen(const PromptSpec& spec, Convention convention, Metric metric, const Item& item, const ItemScores& scores);

// One number per item; a metric's value is their mean, except perplexity (the numbers are log-probabilities) and
// macro_f1 (the numbers are the chosen candidates).
double item_value(const PromptSpec& spec, Convention convention, Metric metric, const Item& item,
                  const ItemScores& scores);

// The metric over items; perplexity's error is that of the mean carried through exp, macro_f1 has none (NaN).
Estimate metric_value(Metric metric, std::span<const Item* const> items, std::span<const double> values);

// SQuAD's comparison (Rajpurkar et al. 2016): lower case, no punctuation, no articles, single blanks.
std::string squad_normalized(std::string_view text);
double squad_f1(std::string_view prediction, std::string_view answer);

}  // namespace troupe
