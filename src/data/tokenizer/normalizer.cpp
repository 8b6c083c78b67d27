#include "data/tokenizer/normalizer.h"

#include <algorithm>

#include "base/unicode.h"
#include "data/tokenizer/charsmap.h"
#include "data/tokenizer/regex.h"
#include "data/tokenizer/utf8_runs.h"
#include "data/tokenizer/white_space.h"

namespace troupe {
namespace {

constexpr uint8_t kFirstThatMayChange = 0xCC;  // lead byte of U+0300: characters below are in Form C and start anew

bool is_lead_byte(char byte) { return (static_cast<uint8_t>(byte) & 0xC0) != 0x80; }

// Only stretches with characters from U+0300 on can change, together with the character before them.
void append_nfc(std::string_view text, std::string& out) {
  const auto may_change = [&](size_t i) { return static_cast<uint8_t>(text[i]) >= kFirstThatMayChange; };
  size_t done = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    if (!may_change(at)) continue;
    size_t begin = at, end = at + 1;
    if (begin > done)
      while (!is_lead_byte(text[--begin])) {
      }
    while (end < text.size() && (may_change(end) || !is_lead_byte(text[end]))) ++end;
    out += text.substr(done, begin - done);
    out += unicode::nfc(text.substr(begin, end - begin));
    done = end;
    at = end - 1;
  }
  out += text.substr(done);
}

bool is_nfc_by_its_bytes(std::string_view text) {
  return std::none_of(text.begin(), text.end(),
                      [](char byte) { return static_cast<uint8_t>(byte) >= kFirstThatMayChange; });
}

// append(run, out) for runs of UTF-8; what is none stays.
template <class Append>
std::string of_runs(std::string_view text, const Append& append) {
  std::string out;
  out.reserve(text.size());
  for_each_utf8_run(
      text, [&](std::string_view run) { append(run, out); }, [&](std::string_view run) { out += run; });
  return out;
}

std::string nfc_of_runs(std::string_view text) { return of_runs(text, append_nfc); }

std::string nfkc_of_runs(std::string_view text) {
  return of_runs(text, [](std::string_view run, std::string& out) { out += unicode::nfkc(run); });
}

bool is_ascii(std::string_view text) {
  return std::none_of(text.begin(), text.end(), [](char byte) { return static_cast<uint8_t>(byte) >= 0x80; });
}

std::string replaced(std::string_view text, const std::string& from, const std::string& to) {
  std::string out;
  out.reserve(text.size() + text.size() / 4);
  size_t at = 0;
  for (size_t found; (found = text.find(from, at)) != text.npos; at = found + from.size())
    out.append(text.substr(at, found - at)).append(to);
  return out.append(text.substr(at));
}

std::string matches_replaced(std::string_view text, const Regex& regex, const std::string& to) {
  RegexMatcher matcher(regex);
  std::string out;
  const auto in_run = [&](std::string_view run) {
    size_t at = 0;
    for (size_t begin, end; matcher.find(run, at, begin, end); at = end)
      out.append(run.substr(at, begin - at)).append(to);
    out.append(run.substr(at));
  };
  for_each_utf8_run(text, in_run, [&](std::string_view run) { out += run; });
  return out;
}

std::string_view stripped(std::string_view text, const Normalizer& step) {
  if (step.strips_start) text.remove_prefix(leading_white_space(text));
  if (step.strips_end) text.remove_suffix(trailing_white_space(text));
  return text;
}

}  // namespace

std::string_view normalize(const std::vector<Normalizer>& steps, std::string_view text, std::string& storage) {
  for (const Normalizer& step : steps) {
    switch (step.kind) {
      case Normalizer::Kind::kNfc:
        if (is_nfc_by_its_bytes(text)) continue;
        storage = nfc_of_runs(text);
        break;
      case Normalizer::Kind::kNfkc:
        if (is_ascii(text)) continue;
        storage = nfkc_of_runs(text);
        break;
      case Normalizer::Kind::kPrepend:
        if (text.empty()) continue;
        storage = step.to + std::string(text);
        break;
      case Normalizer::Kind::kReplace:
        if (text.find(step.from) == text.npos) continue;
        storage = replaced(text, step.from, step.to);
        break;
      case Normalizer::Kind::kPattern:
        storage = matches_replaced(text, *step.regex, step.to);
        break;
      case Normalizer::Kind::kStrip:
        storage = std::string(stripped(text, step));
        break;
      case Normalizer::Kind::kPrecompiled:
        storage = precompiled_normalized(*step.charsmap, text);
        break;
      case Normalizer::Kind::kSentencePiece:
        storage = sentencepiece_normalized(step.charsmap.get(), step.removes_spaces, step.dummy_prefix, text);
        break;
    }
    text = storage;
  }
  return text;
}

}  // namespace troupe
