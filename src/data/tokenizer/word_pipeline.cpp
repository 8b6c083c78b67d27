#include "data/tokenizer/word_pipeline.h"

namespace troupe {
namespace {

// The pattern that a step cuts with, or nothing.
std::unique_ptr<WordSplitter> splitter_of(const PreTokenizer& step, const std::string& where) {
  const auto make = [&](std::string_view pattern, WordSplitter::Options options = {}) {
    return std::make_unique<WordSplitter>(pattern, where, options);
  };
  switch (step.kind) {
    case PreTokenizer::Kind::kByteLevel:
      return step.use_regex ? make(kGpt2Pattern) : nullptr;
    case PreTokenizer::Kind::kSplit:
      return make(step.pattern, step.options);
    case PreTokenizer::Kind::kDigits:
      return make(step.individual_digits ? "\\p{N}" : "\\p{N}+");
    case PreTokenizer::Kind::kWhiteSpace:
      return make("\\s+", {.behavior = SplitBehavior::kRemoved});
    case PreTokenizer::Kind::kMetaspace:
      break;
  }
  return step.split ? make(kMetaspace, {.behavior = SplitBehavior::kMergedWithNext, .literal = true}) : nullptr;
}

bool rewrites(const PreTokenizer& step) {
  return step.kind == PreTokenizer::Kind::kMetaspace ||
         (step.kind == PreTokenizer::Kind::kByteLevel && step.add_prefix_space);
}

std::string with_metaspaces(std::string_view text, bool prepend) {
  std::string out;
  if (prepend && !text.starts_with(' ') && !text.starts_with(kMetaspace)) out = kMetaspace;
  for (const char byte : text) byte == ' ' ? out += kMetaspace : out += byte;
  return out;
}

}  // namespace

WordPipeline::WordPipeline(const std::vector<PreTokenizer>& steps, const std::string& where) {
  for (const PreTokenizer& step : steps)
    if (auto splitter = splitter_of(step, where); splitter || rewrites(step))
      steps_.push_back({step, std::move(splitter)});
}

WordPipeline::Matcher::Matcher(const WordPipeline& pipeline) {
  for (const WordPipeline::Step& step : pipeline.steps_)
    steps_.push_back({&step.step, step.splitter ? std::make_unique<WordSplitter::Matcher>(*step.splitter) : nullptr});
}

WordPipeline::Matcher::Piece WordPipeline::Matcher::rewritten(const PreTokenizer& step, const Piece& piece) {
  using Kind = PreTokenizer::Kind;
  using Prepend = PreTokenizer::Prepend;
  if (piece.text.empty() || !rewrites(step)) return piece;
  if (step.kind == Kind::kMetaspace) {
    const bool prepend = step.prepend == Prepend::kAlways || (step.prepend == Prepend::kFirst && piece.first);
    texts_.push_back(with_metaspaces(piece.text, prepend));
  } else if (piece.text.front() != ' ') {
    texts_.push_back(' ' + std::string(piece.text));
  } else {
    return piece;
  }
  const std::string& text = texts_.back();
  return {text, text.data() + text.size(), piece.first};
}

}  // namespace troupe
