// Text as it comes, token by token, for whoever shows it at once: a character is never cut between two pieces, and
// nothing is shown that may turn out to be the beginning of a stop text.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace troupe {

class TextStream {
 public:
  // The text ends before the stop text that is complete first, of several that are complete at once before the longest,
  // wherever the borders of tokens are. Throws kUsage for one that is empty or not UTF-8 (it could cut a character).
  explicit TextStream(std::vector<std::string> stops = {});

  // Takes the next bytes and returns what can be shown now. Once stopped(), takes no more.
  std::string write(std::string_view bytes);
  bool stopped() const { return stopped_; }  // a stop text came
  std::string finish();                      // what was held back, as nothing follows

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace troupe
