#include "eval/tasks/prompts.h"

#include <algorithm>

#include "base/error.h"
#include "data/tokenizer/definition.h"
#include "eval/tasks/python_text.h"

namespace troupe {
namespace {

constexpr std::string_view kSeparator = "\n\n";  // lm-evaluation-harness, fewshot_delimiter

// The longest run of tokens that all continuations end with stays, what is before it becomes context.
void keep_common_suffix(std::span<ScoreRequest> candidates) {
  size_t common = candidates[0].continuation.size();
  for (const ScoreRequest& request : candidates) {
    const auto &a = request.continuation, &b = candidates[0].continuation;
    common = std::min<size_t>(
        common, static_cast<size_t>(std::mismatch(a.rbegin(), a.rend(), b.rbegin(), b.rend()).first - a.rbegin()));
  }
  common = std::max<size_t>(common, 1);
  for (ScoreRequest& request : candidates) {
    const auto cut = request.continuation.end() - static_cast<std::ptrdiff_t>(common);
    request.context.insert(request.context.end(), request.continuation.begin(), cut);
    request.continuation.erase(request.continuation.begin(), cut);
  }
}

// The id that stands for an empty context in the harness: that of transformers' bos_token, else end-of-text.
int32_t empty_context(const Tokenizer& tokenizer, int32_t end_of_text) {
  const std::string& bos = tokenizer.definition().config.bos_token;
  if (bos.empty()) return end_of_text;
  const std::vector<int32_t> ids = tokenizer.encode(bos);
  return ids.size() == 1 ? ids[0] : end_of_text;
}

}  // namespace

PromptMaker::PromptMaker(const Tokenizer& tokenizer, Convention convention, int32_t end_of_text)
    : tokenizer_(tokenizer),
      convention_(convention),
      end_of_text_(end_of_text),
      empty_context_(empty_context(tokenizer, end_of_text)) {}

std::string example_text(const PromptSpec& spec, const Item& item) {
  const auto gold = static_cast<size_t>(item.gold.empty() ? 0 : item.gold[0]);
  return item.context(gold) + (item.context(gold).empty() ? "" : spec.delimiter) + item.choice(gold);
}

// Lines closed by end-of-text between them; repeated line ends count once (fairseq, examples/moe_lm).
void PromptMaker::append_lines(std::string_view text, std::vector<int32_t>& ids) const {
  bool first = true;
  while (true) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    if (!line.empty()) {
      if (!first) ids.push_back(end_of_text_);
      tokenizer_.encode(line, ids, Tokenizer::AddedTokens::kAsText);
      first = false;
    }
    if (end == text.size()) return;
    text.remove_prefix(end + 1);
  }
}

std::vector<int32_t> PromptMaker::encode(const std::string& text) const {
  if (convention_ == Convention::kHarness) return tokenizer_.encode(text);
  std::vector<int32_t> ids;
  append_lines(text, ids);
  return ids;
}

void PromptMaker::set_examples(std::vector<std::string> examples) {
  examples_ = std::move(examples);
  example_tokens_.clear();
  examples_ids_.assign(1, {});
  for (const std::string& example : examples_) {
    std::vector<int32_t> ids =
        encode(convention_ == Convention::kHarness ? example + std::string(kSeparator) : example);
    if (convention_ == Convention::kPaper) {
      ids.push_back(end_of_text_);
      std::vector<int32_t>& all = examples_ids_.emplace_back(examples_ids_.back());
      all.insert(all.end(), ids.begin(), ids.end());
    }
    example_tokens_.push_back(static_cast<int64_t>(ids.size()));
  }
}

ScoreRequest PromptMaker::request(int64_t count, const std::string& context, const std::string& delimiter,
                                  const std::string& choice, const std::string& where) const {
  ScoreRequest request;
  if (convention_ == Convention::kPaper) {
    std::vector<int32_t> before = {end_of_text_};
    const std::vector<int32_t>& examples = examples_ids_[static_cast<size_t>(count)];
    before.insert(before.end(), examples.begin(), examples.end());
    std::vector<int32_t> whole = before;
    append_lines(context, before);
    append_lines(context + (context.empty() ? "" : delimiter) + choice, whole);
    const size_t shared = static_cast<size_t>(
        std::mismatch(before.begin(), before.end(), whole.begin(), whole.end()).first - before.begin());
    request.context.assign(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(shared));
    request.continuation.assign(whole.begin() + static_cast<std::ptrdiff_t>(shared), whole.end());
  } else {
    std::string before;
    for (int64_t i = 0; i < count; ++i) before += examples_[static_cast<size_t>(i)] + std::string(kSeparator);
    before += context;
    const std::string all = before + delimiter + choice;
    before.resize(python::rstrip(before).size());
    if (before.empty()) {
      request.context = {empty_context_};
      request.continuation = encode(all);
    } else {
      request.context = encode(before);
      const std::vector<int32_t> whole = encode(all);
      const size_t cut = std::min(request.context.size(), whole.size());
      request.continuation.assign(whole.begin() + static_cast<std::ptrdiff_t>(cut), whole.end());
    }
  }
  if (request.continuation.empty())
    fail(ErrorCode::kData, "{}: choices: expected at least one token after the context, got none for \"{}\"", where,
         choice);
  return request;
}

std::vector<ScoreRequest> PromptMaker::requests(int64_t count, const PromptSpec& spec, const Item& item) const {
  std::vector<ScoreRequest> requests;
  for (size_t c = 0; c < item.candidates(); ++c)
    requests.push_back(request(count, item.context(c), spec.delimiter, item.choice(c), item.where));
  if (convention_ == Convention::kPaper && spec.score == PaperScore::kSuffix) keep_common_suffix(requests);
  return requests;
}

int64_t PromptMaker::most_examples(const PromptSpec& spec, const Item& item, int64_t limit) const {
  const auto tokens_with = [&](int64_t count) {
    size_t most = 0;
    for (size_t c = 0; c < item.candidates(); ++c) {
      const ScoreRequest request = this->request(count, item.context(c), spec.delimiter, item.choice(c), item.where);
      most = std::max(most, request.context.size() + request.continuation.size());
    }
    return static_cast<int64_t>(most);
  };
  // Tokens add up but for what merges at the seams, so the sum is a good first guess.
  int64_t tokens = num_examples() > 0 ? tokens_with(0) : 0, count = 0;
  while (count < num_examples() && tokens + example_tokens_[static_cast<size_t>(count)] <= limit)
    tokens += example_tokens_[static_cast<size_t>(count++)];
  while (count > 0 && convention_ == Convention::kHarness && tokens_with(count) > limit) --count;
  return count;
}

}  // namespace troupe
