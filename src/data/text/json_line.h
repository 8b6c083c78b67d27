// One line of a JSON lines file: the strings under given keys, or the reason why not.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "data/text/reader.h"

namespace troupe {

class JsonLineParser {
 public:
  JsonLineParser();
  ~JsonLineParser();

  struct Failure {
    SkipReason reason;
    std::string message;  // "text: expected a string, got a number"
  };
  // Parses all of `line` (an object; numbers of any size, NaN and Infinity pass, as Python's json writes them). get()
  // reads from it until the next parse.
  [[nodiscard]] bool parse(std::string_view line, Failure& failure);
  // The string under `field`: the key itself if there is one, else a path of keys joined by '.'. A key that is there
  // twice is damage, and so is half of a surrogate pair.
  [[nodiscard]] bool get(std::string_view field, std::string& value, Failure& failure);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace troupe
