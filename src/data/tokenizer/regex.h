// PCRE2 with JIT: one compiled pattern (shared by threads) and what one thread needs to match it.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

struct pcre2_real_code_8;
struct pcre2_real_match_data_8;
struct pcre2_real_match_context_8;
struct pcre2_real_jit_stack_8;

namespace troupe {

class Regex {
 public:
  enum class Mode { kUtf, kBytes };  // code points with Unicode classes, or plain bytes

  // `where` opens the message if `pattern` does not compile (kData) or could match nothing at all.
  Regex(const std::string& pattern, Mode mode, const std::string& where);
  ~Regex();
  Regex(const Regex&) = delete;
  Regex& operator=(const Regex&) = delete;

  const pcre2_real_code_8* code() const { return code_; }
  bool jit() const { return jit_; }

 private:
  pcre2_real_code_8* code_ = nullptr;
  bool jit_ = false;
};

// One per thread and pattern.
class RegexMatcher {
 public:
  explicit RegexMatcher(const Regex& regex);
  ~RegexMatcher();
  RegexMatcher(const RegexMatcher&) = delete;
  RegexMatcher& operator=(const RegexMatcher&) = delete;

  // Leftmost match at or after `from`; false if there is none. In kUtf mode `text` must be well-formed and `from` at a
  // character: neither is checked. Throws kData if the pattern needs more steps than PCRE2 allows.
  bool find(std::string_view text, size_t from, size_t& begin, size_t& end);

 private:
  const Regex& regex_;
  pcre2_real_match_data_8* data_;
  pcre2_real_match_context_8* context_;
  pcre2_real_jit_stack_8* stack_;
};

}  // namespace troupe
