// Texts of items to token requests, the way each convention does it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/tokenizer/tokenizer.h"
#include "eval/requests.h"
#include "eval/tasks/items.h"

namespace troupe {

// An item with its answer, as an example in front of others.
std::string example_text(const PromptSpec& spec, const Item& item);

class PromptMaker {
 public:
  // end_of_text: the id that opens a sequence (paper); stands for an empty context (harness) if the tokenizer has no
  // bos_token.
  PromptMaker(const Tokenizer& tokenizer, Convention convention, int32_t end_of_text);

  // Examples that stand in front; the first `count` are used by request().
  //   paper     end-of-text, then each example with its lines closed by end-of-text
  //   harness   examples followed by an empty line, one text with what follows
  void set_examples(std::vector<std::string> examples);
  int64_t num_examples() const { return static_cast<int64_t>(examples_.size()); }

  // What follows `context`; the continuation is delimiter + choice. Tokens that the pair and the context alone begin
  // with in common are context (paper); the harness cuts after as many tokens as the context alone has, having moved
  // white space at its end to the continuation (Python's str.rstrip). Throws kData naming `where` if no token is left
  // to score.
  ScoreRequest request(int64_t count, const std::string& context, const std::string& delimiter,
                       const std::string& choice, const std::string& where) const;

  // One for every candidate of the item; of the paper's `suffix` score, continuations are what all of them end with.
  std::vector<ScoreRequest> requests(int64_t count, const PromptSpec& spec, const Item& item) const;

  // The most examples, at most num_examples(), with which every candidate of the item has at most `limit` tokens.
  int64_t most_examples(const PromptSpec& spec, const Item& item, int64_t limit) const;

 private:
  void append_lines(std::string_view text, std::vector<int32_t>& ids) const;
  std::vector<int32_t> encode(const std::string& text) const;

  const Tokenizer& tokenizer_;
  Convention convention_;
  int32_t end_of_text_;
  int32_t empty_context_;
  std::vector<std::string> examples_;
  std::vector<int64_t> example_tokens_;                // of each example alone
  std::vector<std::vector<int32_t>> examples_ids_{1};  // paper: [count] the first examples
};

}  // namespace troupe
