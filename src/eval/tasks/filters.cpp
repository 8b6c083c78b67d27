#include "eval/tasks/filters.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/unicode.h"
#include "base/utf8.h"
#include "eval/tasks/python_text.h"
#include "io/json_text.h"

namespace troupe {
namespace {

using Json = nlohmann::json;

const std::string& text_of(const Json& value) { return value.get_ref<const std::string&>(); }

// Where the characters begin, and the end. Texts are valid UTF-8 when they get here (loaders check).
std::vector<size_t> character_starts(const std::string& text) {
  std::vector<size_t> starts = {0};
  for (const std::string_view character : characters(text)) starts.push_back(starts.back() + character.size());
  return starts;
}

std::string substring(const std::string& text, const std::vector<size_t>& starts, int64_t begin, int64_t end) {
  const auto count = static_cast<int64_t>(starts.size()) - 1;
  begin = std::clamp<int64_t>(begin, 0, count), end = std::clamp<int64_t>(end, begin, count);
  return text.substr(starts[static_cast<size_t>(begin)],
                     starts[static_cast<size_t>(end)] - starts[static_cast<size_t>(begin)]);
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  if (from.empty()) return;
  for (size_t at = text.find(from); at != text.npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
}

int64_t integer(const Json& value, std::string_view filter) {
  if (value.is_number_integer()) return value.get<int64_t>();
  fail(ErrorCode::kData, "{}: expected a whole number as argument, got {}", filter, value.type_name());
}

const std::string& text_argument(const Json& value, std::string_view filter) {
  if (value.is_string()) return text_of(value);
  fail(ErrorCode::kData, "{}: expected text as argument, got {}", filter, value.type_name());
}

// The first character by `change`, the others as they are.
Json with_first(const std::string& text, std::string (*change)(std::string_view)) {
  const size_t first = text.empty() ? 0 : first_character(text).size();
  return change(std::string_view(text).substr(0, first)) + text.substr(first);
}

Json lower(const Json& v, FilterArguments) { return unicode::lower(text_of(v)); }
Json upper(const Json& v, FilterArguments) { return unicode::upper(text_of(v)); }
Json capitalize(const Json& v, FilterArguments) { return unicode::capitalized(text_of(v)); }
Json lower_first(const Json& v, FilterArguments) { return with_first(text_of(v), unicode::lower); }
Json upper_first(const Json& v, FilterArguments) { return with_first(text_of(v), unicode::upper); }
Json strip(const Json& v, FilterArguments) { return std::string(python::strip(text_of(v))); }

Json replace(const Json& v, FilterArguments a) {
  std::string text = text_of(v);
  replace_all(text, text_argument(a[0], "replace"), text_argument(a[1], "replace"));
  return text;
}

// Python's re.sub("\\[.*?\\]", "", text): a bracket that is not closed on its line stays.
Json remove_brackets(const Json& v, FilterArguments) {
  const std::string& text = text_of(v);
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const size_t stop = text[i] == '[' ? text.find_first_of("]\n", i) : text.npos;
    if (stop != text.npos && text[stop] == ']') {
      i = stop + 1;
    } else {
      out += text[i++];
    }
  }
  return out;
}

Json prefix(const Json& v, FilterArguments a) { return text_argument(a[0], "prefix") + text_of(v); }
Json suffix(const Json& v, FilterArguments a) { return text_of(v) + text_argument(a[0], "suffix"); }

size_t position(const Json& v, const Json& needle, std::string_view filter, bool last) {
  const std::string& wanted = text_argument(needle, filter);
  const size_t at = last ? text_of(v).rfind(wanted) : text_of(v).find(wanted);
  if (at == std::string::npos)
    fail(ErrorCode::kData, "{}: expected \"{}\" in the text, got \"{}\"", filter, wanted, text_of(v));
  return at;
}
Json before(const Json& v, FilterArguments a) { return text_of(v).substr(0, position(v, a[0], "before", false)); }
Json after(const Json& v, FilterArguments a) {
  return text_of(v).substr(position(v, a[0], "after", false) + text_of(a[0]).size());
}
// Like Python's text.split(x)[:-1] joined again and text.split(x)[-1]: nothing before, all after where x is absent.
Json before_last(const Json& v, FilterArguments a) {
  const size_t at = text_of(v).rfind(text_argument(a[0], "before_last"));
  return at == std::string::npos ? std::string() : text_of(v).substr(0, at);
}
Json after_last(const Json& v, FilterArguments a) {
  const size_t at = text_of(v).rfind(text_argument(a[0], "after_last"));
  return at == std::string::npos ? text_of(v) : text_of(v).substr(at + text_of(a[0]).size());
}

Json split(const Json& v, FilterArguments a) {
  const std::string &text = text_of(v), &separator = text_argument(a[0], "split");
  if (separator.empty()) fail(ErrorCode::kData, "split: expected a separator, got an empty one");
  Json list = Json::array();
  size_t begin = 0;
  for (size_t at; (at = text.find(separator, begin)) != text.npos; begin = at + separator.size())
    list.push_back(text.substr(begin, at - begin));
  list.push_back(text.substr(begin));
  return list;
}

Json part(const Json& v, FilterArguments a) {
  const Json list = split(v, a);
  const int64_t index = integer(a[1], "part");
  if (index < 0 || index >= static_cast<int64_t>(list.size()))
    fail(ErrorCode::kData, "part: expected at least {} parts, got {} in \"{}\"", index + 1, list.size(), text_of(v));
  return list[static_cast<size_t>(index)];
}

Json join(const Json& v, FilterArguments a) {
  std::string text;
  for (const Json& element : v) {
    if (!element.is_string())
      fail(ErrorCode::kData, "join: expected a list of texts, got {} in it", element.type_name());
    if (&element != &v.front()) text += text_argument(a[0], "join");
    text += text_of(element);
  }
  return text;
}

Json first(const Json& v, FilterArguments) {
  if (v.empty()) fail(ErrorCode::kData, "first: expected a list with elements, got an empty one");
  return v.front();
}
Json rest(const Json& v, FilterArguments) { return Json(v.begin() + (v.empty() ? 0 : 1), v.end()); }
Json sort(const Json& v, FilterArguments) {
  Json list = v;
  std::sort(list.begin(), list.end());
  return list;
}
Json unique(const Json& v, FilterArguments) {
  Json list = Json::array();
  for (const Json& element : v)
    if (std::find(list.begin(), list.end(), element) == list.end()) list.push_back(element);
  return list;
}

Json slice(const Json& v, FilterArguments a) {
  const std::vector<size_t> starts = character_starts(text_of(v));
  const int64_t begin = integer(a[0], "slice"), end = integer(a[1], "slice");
  if (begin < 0 || end < begin || end >= static_cast<int64_t>(starts.size()))
    fail(ErrorCode::kData, "slice: expected a range in a text of {} characters, got {} to {}", starts.size() - 1, begin,
         end);
  return substring(text_of(v), starts, begin, end);
}

Json drop_last(const Json& v, FilterArguments) {
  const std::vector<size_t> starts = character_starts(text_of(v));
  return text_of(v).substr(0, starts[starts.size() > 1 ? starts.size() - 2 : 0]);
}

Json ensure_end(const Json& v, FilterArguments a) {
  const std::string& end = text_argument(a[0], "ensure_end");
  return text_of(v).ends_with(end) ? text_of(v) : text_of(v) + end;
}

// {start, end} objects, in code points with the end included, to the text that they mark.
Json spans(const Json& v, FilterArguments a) {
  const std::string& text = text_argument(a[0], "spans");
  const std::vector<size_t> starts = character_starts(text);
  Json list = Json::array();
  for (const Json& span : v) {
    if (!span.is_object() || !span.contains("start") || !span.contains("end"))
      fail(ErrorCode::kData, "spans: expected objects with start and end, got {}", json_excerpt(span));
    const int64_t begin = integer(span["start"], "spans"), end = integer(span["end"], "spans") + 1;
    if (begin < 0 || end <= begin || end >= static_cast<int64_t>(starts.size()))
      fail(ErrorCode::kData, "spans: expected a range in a text of {} characters, got [{}, {}]", starts.size() - 1,
           begin, end - 1);
    list.push_back(substring(text, starts, begin, end));
  }
  return list;
}

Json fill(const Json& v, FilterArguments a) {
  std::string text = text_argument(a[0], "fill");
  position(a[0], a[1], "fill", false);
  replace_all(text, text_argument(a[1], "fill"), text_of(v));
  return text;
}

Json map(const Json& v, FilterArguments a) {
  std::string known;
  for (size_t i = 0; i + 1 < a.size(); i += 2) {
    if (text_of(v) == text_argument(a[i], "map")) return a[i + 1];
    known += (i ? ", " : "") + text_of(a[i]);
  }
  fail(ErrorCode::kData, "map: expected one of {}, got \"{}\"", known, text_of(v));
}

// lm-evaluation-harness, utils.general_detokenize: spaces that tokenised text has before and after punctuation.
Json detokenize(const Json& v, FilterArguments) {
  std::string text = text_of(v);
  for (const auto& [from, to] : {std::pair{" n't", "n't"},
                                 {" )", ")"},
                                 {"( ", "("},
                                 {"\" ", "\""},
                                 {" \"", "\""},
                                 {" '", "'"},
                                 {" .", "."},
                                 {" ,", ","}})
    replace_all(text, from, to);
  return text;
}

// Puts asterisks around the word with a number in the white-space-separated text (0 is the first), as the
// harness does for WSC: the words before it joined by single blanks, then " *word*", then what follows in the text.
Json mark_word(const Json& v, FilterArguments a) {
  const std::string &text = text_of(v), &word = text_argument(a[1], "mark_word");
  const int64_t index = integer(a[0], "mark_word");
  if (index < 0) fail(ErrorCode::kData, "mark_word: expected a word number from 0, got {}", index);
  const std::vector<std::string> words = python::split(text);
  if (index > static_cast<int64_t>(words.size()))
    fail(ErrorCode::kData, "mark_word: expected a word number below {}, got {}", words.size(), index);
  std::string before;
  for (size_t i = 0; i < static_cast<size_t>(index); ++i) before += (i ? " " : "") + words[i];
  const auto length = [](const std::string& of) { return static_cast<int64_t>(count_characters(of)); };
  const std::vector<size_t> starts = character_starts(text);
  return before + " *" + word + "*" + substring(text, starts, length(before) + length(word) + 1, INT64_MAX);
}

Json first_word_among(const Json& v, FilterArguments a) {
  const std::string& text = text_of(v);
  const std::string closed = text + " ";  // outlives the views of its characters
  std::string word;
  for (const std::string_view character : characters(closed)) {
    if (unicode::is_letter(code_point(character))) {
      word += character;
      continue;
    }
    word = unicode::lower(word);
    for (const Json& candidate : a)
      if (!word.empty() && word == text_argument(candidate, "first_word_among")) return word;
    word.clear();
  }
  fail(ErrorCode::kData, "first_word_among: expected one of the words in the text, got \"{}\"", text);
}

constexpr std::array kFilters = {
    Filter{"after", 1, 1, Filter::kText, after, "what follows the first X; an error if X is absent"},
    Filter{"after_last", 1, 1, Filter::kText, after_last, "what follows the last X; everything if X is absent"},
    Filter{"before", 1, 1, Filter::kText, before, "what precedes the first X; an error if X is absent"},
    Filter{"before_last", 1, 1, Filter::kText, before_last, "what precedes the last X; nothing if X is absent"},
    Filter{"capitalize", 0, 0, Filter::kText, capitalize, "first letter in upper case, the others in lower case"},
    Filter{"detokenize", 0, 0, Filter::kText, detokenize, "no blanks before closing and after opening punctuation"},
    Filter{"drop_last", 0, 0, Filter::kText, drop_last, "without the last character"},
    Filter{"ensure_end", 1, 1, Filter::kText, ensure_end, "with X at the end, unless it is there"},
    Filter{"fill", 2, 2, Filter::kText, fill, "fill(T, X): the text T with this value in place of X"},
    Filter{"first", 0, 0, Filter::kList, first, "first element"},
    Filter{"first_word_among", 1, -1, Filter::kText, first_word_among, "the first word that is one of these"},
    Filter{"join", 1, 1, Filter::kList, join, "elements with X between them"},
    Filter{"lower", 0, 0, Filter::kText, lower, "lower case"},
    Filter{"lower_first", 0, 0, Filter::kText, lower_first, "first letter in lower case"},
    Filter{"map", 2, -1, Filter::kScalar, map, "map(a, A, b, B...): A where the value is a, and so on"},
    Filter{"mark_word", 2, 2, Filter::kText, mark_word, "mark_word(N, W): asterisks around word N, which is W"},
    Filter{"part", 2, 2, Filter::kText, part, "part(X, N): element N, from 0, of the text split at X"},
    Filter{"prefix", 1, 1, Filter::kText, prefix, "with X in front"},
    Filter{"remove_brackets", 0, 0, Filter::kText, remove_brackets, "without [bracketed] parts"},
    Filter{"replace", 2, 2, Filter::kText, replace, "replace(X, Y): Y for every X"},
    Filter{"rest", 0, 0, Filter::kList, rest, "all but the first element"},
    Filter{"slice", 2, 2, Filter::kText, slice,
           "slice(A, B): characters A to B - 1; an error if the text has none such"},
    Filter{"sort", 0, 0, Filter::kList, sort, "sorted by code points"},
    Filter{"spans", 1, 1, Filter::kList, spans, "{start, end} objects to the parts of text X (end included)"},
    Filter{"split", 1, 1, Filter::kText, split, "list of the parts between X"},
    Filter{"strip", 0, 0, Filter::kText, strip, "no white space at both ends"},
    Filter{"suffix", 1, 1, Filter::kText, suffix, "with X at the end"},
    Filter{"unique", 0, 0, Filter::kList, unique, "each element once, in order"},
    Filter{"upper", 0, 0, Filter::kText, upper, "upper case"},
    Filter{"upper_first", 0, 0, Filter::kText, upper_first, "first letter in upper case"},
};

}  // namespace

std::span<const Filter> filters() { return kFilters; }

const Filter* find_filter(std::string_view name) {
  const auto found = std::find_if(kFilters.begin(), kFilters.end(), [&](const Filter& f) { return f.name == name; });
  return found == kFilters.end() ? nullptr : &*found;
}

}  // namespace troupe
