#include "data/tokenizer/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <mutex>
#include <new>

#include "base/error.h"
#include "base/log.h"

namespace troupe {
namespace {

constexpr size_t kJitStackStart = 32 << 10, kJitStackMax = 8 << 20;

std::string message_of(int code) {
  PCRE2_UCHAR buffer[256];
  pcre2_get_error_message(code, buffer, sizeof buffer);
  return reinterpret_cast<const char*>(buffer);
}

struct ContextDeleter {
  void operator()(pcre2_compile_context* context) const { pcre2_compile_context_free(context); }
};

}  // namespace

Regex::Regex(const std::string& pattern, Mode mode, const std::string& where) {
  const std::unique_ptr<pcre2_compile_context, ContextDeleter> context(pcre2_compile_context_create(nullptr));
  if (!context) throw std::bad_alloc();
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  const uint32_t options = PCRE2_NEVER_BACKSLASH_C | (mode == Mode::kUtf ? PCRE2_UTF | PCRE2_UCP : PCRE2_NEVER_UTF);
  int error = 0;
  size_t at = 0;
  code_ =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), options, &error, &at, context.get());
  if (!code_)
    fail(ErrorCode::kData, "{}: expected a regular expression, got an error at its character {}: {}", where, at,
         message_of(error));
  uint32_t matches_empty = 0;
  pcre2_pattern_info(code_, PCRE2_INFO_MATCHEMPTY, &matches_empty);
  if (matches_empty) {
    pcre2_code_free(code_);
    fail(ErrorCode::kData, "{}: expected a pattern that matches at least one character, got one that matches none",
         where);
  }
  jit_ = pcre2_jit_compile(code_, PCRE2_JIT_COMPLETE) == 0;
  if (!jit_) {
    static std::once_flag once;
    std::call_once(once,
                   [] { log::warning("PCRE2 has no JIT here: splitting text into words is several times slower"); });
  }
}

Regex::~Regex() { pcre2_code_free(code_); }

RegexMatcher::RegexMatcher(const Regex& regex)
    : regex_(regex),
      data_(pcre2_match_data_create(1, nullptr)),
      context_(pcre2_match_context_create(nullptr)),
      stack_(regex.jit() ? pcre2_jit_stack_create(kJitStackStart, kJitStackMax, nullptr) : nullptr) {
  if (stack_ && context_) pcre2_jit_stack_assign(context_, nullptr, stack_);
}

RegexMatcher::~RegexMatcher() {
  pcre2_match_data_free(data_);
  pcre2_match_context_free(context_);
  if (stack_) pcre2_jit_stack_free(stack_);
}

bool RegexMatcher::find(std::string_view text, size_t from, size_t& begin, size_t& end) {
  if (!data_ || !context_) throw std::bad_alloc();
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  const int rc = regex_.jit()
                     ? pcre2_jit_match(regex_.code(), subject, text.size(), from, 0, data_, context_)
                     : pcre2_match(regex_.code(), subject, text.size(), from, PCRE2_NO_UTF_CHECK, data_, context_);
  if (rc == PCRE2_ERROR_NOMATCH) return false;
  if (rc < 0)
    fail(ErrorCode::kData, "tokenizer pattern: byte {} of a text: expected a match within PCRE2's limits, got: {}",
         from, message_of(rc));
  const size_t* ends = pcre2_get_ovector_pointer(data_);
  begin = ends[0];
  end = ends[1];
  return true;
}

}  // namespace troupe
