#include "data/corpus/parsers/game_text.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "data/corpus/parsers/lines.h"
#include "io/json_file.h"

namespace troupe::corpus {
namespace {

// Text that grows by what it does not hold yet: data files repeat themselves.
class Told {
 public:
  void add(std::string line, std::string_view end = "\n") {
    if (!seen_.insert(line).second) return;
    text_.append(line).append(end);
  }
  std::string take() {
    seen_.clear();
    return std::exchange(text_, {});
  }

 private:
  std::string text_;
  std::set<std::string> seen_;
};

void emit_if_any(std::string text, const Emit& emit) {
  if (!is_blank(trim(text))) emit(std::move(text));
}

template <size_t N>
bool is_among(const std::array<std::string_view, N>& list, std::string_view name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

// A value of Wesnoth's markup that begins at `at`: strings in quotes ("" is one of them), each translatable if it has
// a mark _ before it, joined by +. Returns the translatable ones and moves `at` behind the value.
std::string wesnoth_value(std::string_view text, size_t& at) {
  std::string value;
  bool translatable = false;
  while (at < text.size()) {
    const char c = text[at];
    if (c == '"') {
      std::string part;
      for (++at; at < text.size(); ++at) {
        if (text[at] == '"') {
          if (at + 1 < text.size() && text[at + 1] == '"')
            ++at;
          else
            break;
        }
        part += text[at];
      }
      ++at;
      if (translatable) value += part;
      // "+" joins this string with one that may stand on the next line
      size_t plus = std::min(text.find_first_not_of(" \t", at), text.size());
      if (plus >= text.size() || text[plus] != '+') break;
      at = std::min(text.find_first_not_of(" \t\r\n", plus + 1), text.size());
      translatable = false;
    } else if (c == '_') {
      translatable = true;
      ++at;
    } else if (c == ' ' || c == '\t') {
      ++at;
    } else {
      break;
    }
  }
  return value;
}

// "<b>", "</i>" and "<span ...>" of Pango go.
std::string without_tags(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '<' && i + 1 < text.size() &&
        (std::isalpha(static_cast<unsigned char>(text[i + 1])) || text[i + 1] == '/')) {
      const size_t end = text.find('>', i);
      const std::string_view tag = end == text.npos ? "" : text.substr(i + 1, end - i - 1);
      const std::string_view name =
          tag.substr(tag.starts_with('/'), tag.find_first_of(" =_", tag.starts_with('/')) - tag.starts_with('/'));
      constexpr std::array<std::string_view, 11> kTags = {"b",    "i",      "big",    "small", "span", "color",
                                                          "bold", "italic", "header", "ref",   "img"};
      if (is_among(kTags, name)) {
        i = end;
        continue;
      }
    }
    out += text[i];
  }
  return out;
}

}  // namespace

void parse_wesnoth(std::string_view config, const Emit& emit) {
  constexpr std::array<std::string_view, 4> kTold = {"message", "story", "description", "note"};
  std::string speaker;
  Told told;
  for (size_t at = 0; at < config.size();) {
    const size_t end = std::min(config.find('\n', at), config.size());
    const std::string_view line = trim(config.substr(at, end - at));
    const size_t equals = line.find('=');
    const std::string_view key = trim(line.substr(0, equals));
    if (line.starts_with('[')) speaker.clear();
    if (equals == line.npos || line.starts_with('#')) {
      at = end + 1;
      continue;
    }
    if (key == "speaker") {
      speaker = trim(line.substr(equals + 1));
      std::erase(speaker, '"');
    }
    at = config.find('=', at) + 1;
    std::string value = wesnoth_value(config, at);
    at = std::min(config.find('\n', at), config.size()) + 1;
    if (value.empty() || !is_among(kTold, key)) continue;
    value = without_tags(trim(value));
    constexpr std::array<std::string_view, 3> kNobody = {"narrator", "unit", "second_unit"};
    const bool named = key == "message" && !speaker.empty() && !is_among(kNobody, speaker) &&
                       speaker.find_first_of("$={") == speaker.npos;
    told.add(named ? speaker + ": " + value : value, "\n\n");
  }
  emit_if_any(told.take(), emit);
}

void parse_endless_sky(std::string_view data, const Emit& emit) {
  std::string block;
  for_each_line(data, [&](std::string_view line) {
    if (!line.empty() && line[0] != '\t' && line[0] != ' ') {
      emit_if_any(std::move(block), emit);
      block.clear();
    }
    if (trim(line).starts_with('#')) return;
    for (size_t open; (open = line.find('`')) != line.npos;) {
      const size_t close = line.find('`', open + 1);
      if (close == line.npos) return;
      const std::string_view words = trim(line.substr(open + 1, close - open - 1));
      if (words.find(' ') != words.npos) block.append(words) += '\n';
      line.remove_prefix(close + 1);
    }
  });
  emit_if_any(std::move(block), emit);
}

namespace {

// Adds the strings below `value`, of which `told` says whether they are shown to players.
void add_told(const nlohmann::json& value, bool told, Told& text) {
  if (value.is_string()) {
    const std::string& words = value.get_ref<const std::string&>();
    const bool name = words.starts_with('<') && words.find('>') == words.size() - 1;  // of other text: <end_talking>
    if (told && !name) text.add(without_tags(words));
  } else if (value.is_array()) {
    for (const nlohmann::json& element : value) add_told(element, told, text);
  } else if (value.is_object()) {
    constexpr std::array<std::string_view, 9> kTold = {
        "text", "description", "dynamic_line", "responses", "message", "messages", "sign", "info", "desc"};
    constexpr std::array<std::string_view, 8> kInside = {"yes",    "no",          "and",  "str",
                                                         "str_sp", "concatenate", "male", "female"};
    for (const auto& [key, inner] : value.items())
      // A response is an object, of which the text is shown.
      add_told(inner, (is_among(kTold, key) && (key != "responses")) || (told && is_among(kInside, key)), text);
  }
}

}  // namespace

void parse_cataclysm(std::string_view json, const Emit& emit) {
  const nlohmann::json entries = parse_json(json, "JSON");
  const auto one = [&](const nlohmann::json& entry) {
    Told told;
    add_told(entry, false, told);
    std::string text = told.take();
    if (trim(text).find(' ') != text.npos) emit(std::move(text));
  };
  if (!entries.is_array()) return one(entries);
  for (const nlohmann::json& entry : entries) one(entry);
}

void parse_crossfire(std::string_view map, const Emit& emit) {
  constexpr int64_t kFewestBlanks = 3;
  Told told;
  std::string words;
  bool heading = true, message = false;  // the first object describes the map
  for_each_line(map, [&](std::string_view line) {
    if (line == "msg") {
      message = true;
    } else if (line == "endmsg") {
      message = false;
      // Fewer words are the name of a thing; maps that are made at random have their settings here.
      const bool says = std::count(words.begin(), words.end(), ' ') >= kFewestBlanks;
      if (!heading && says && words.find("layoutstyle") == words.npos) told.add(words);
      words.clear();
    } else if (!message) {
      heading &= line != "end";
    } else if (!heading && !line.starts_with('@')) {
      words.append(line) += '\n';
    }
  });
  emit_if_any(told.take(), emit);
}

void parse_gearhead(std::string_view series, const Emit& emit) {
  constexpr std::array<std::string_view, 12> kTold = {"msg",  "prompt", "desc", "rumor", "memo", "cmsg",
                                                      "smsg", "note",   "news", "email", "qmsg", "hint"};
  Told text;
  for_each_line(series, [&](std::string_view line) {
    line = trim(line);
    const size_t open = line.find('<');
    if (line.starts_with('%') || open == line.npos || !line.ends_with('>')) return;
    std::string key(trim(line.substr(0, open)));
    std::transform(key.begin(), key.end(), key.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    // CHAT_News12, %id%Msg3: the last word counts, without its number.
    while (!key.empty() && (std::isdigit(static_cast<unsigned char>(key.back())) || key.back() == '_')) key.pop_back();
    const std::string_view words = line.substr(open + 1, line.size() - open - 2);
    const bool told =
        std::any_of(kTold.begin(), kTold.end(), [&](std::string_view name) { return key.ends_with(name); });
    const bool sentence = words.find(' ') != words.npos && !words.empty() &&
                          std::string_view(".?!\"')*").find(words.back()) != std::string_view::npos;
    if (told && sentence && words.find('<') == words.npos && !words.starts_with("\\PERSONA"))
      text.add(std::string(words));
  });
  emit_if_any(text.take(), emit);
}

}  // namespace troupe::corpus
