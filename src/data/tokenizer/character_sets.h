// Sets of characters by the names that Oniguruma has for them (\p{...}, [[:...:]], \w), as PCRE2 writes them.
#pragma once

#include <optional>
#include <string>

namespace troupe {

// A set as members of a PCRE2 class and, where PCRE2 can say it, its complement likewise.
struct CharacterSet {
  std::string in, out;  // out is empty where it cannot
};

// General categories, POSIX names and some binary properties; nothing for other names. `name` is in lower case, without
// spaces, '-' and '_'. Tested against Hugging Face tokenizers (tools/tokenizer_patterns.py). Sets that a later
// Unicode has changed for characters of version 14 are left out: Word, Alpha, Alnum, Lower, Punct, Diacritic,
// ID_Continue.
std::optional<CharacterSet> named_set(const std::string& name);

// A property by PCRE2's name for it.
CharacterSet property(const std::string& name);

}  // namespace troupe
