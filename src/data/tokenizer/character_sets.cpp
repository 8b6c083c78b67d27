#include "data/tokenizer/character_sets.h"

#include <cctype>
#include <sstream>
#include <unordered_map>

#include "data/tokenizer/white_space.h"

namespace troupe {
namespace {

constexpr CodePointRange kAscii[] = {{0, 0x7F}};
constexpr CodePointRange kHexDigits[] = {{'0', '9'}, {'A', 'F'}, {'a', 'f'}};

template <size_t N>
CharacterSet ranges(const CodePointRange (&list)[N]) {
  CharacterSet set;
  char32_t next = 0;
  const auto add = [](std::string& to, char32_t first, char32_t last) {
    to += fmt::format("\\x{{{:x}}}-\\x{{{:x}}}", static_cast<uint32_t>(first), static_cast<uint32_t>(last));
  };
  for (const auto [first, last] : list) {
    add(set.in, first, last);
    if (first > next) add(set.out, next, first - 1);
    next = last + 1;
  }
  add(set.out, next, 0x10FFFF);
  return set;
}

// Long names and PCRE2's names of what both know as one property.
constexpr const char* kProperties =
    "other C control Cc format Cf unassigned Cn privateuse Co surrogate Cs letter L lowercaseletter Ll "
    "modifierletter Lm otherletter Lo titlecaseletter Lt uppercaseletter Lu mark M combiningmark M "
    "spacingmark Mc enclosingmark Me nonspacingmark Mn number N decimalnumber Nd letternumber Nl othernumber No "
    "punctuation P connectorpunctuation Pc dashpunctuation Pd closepunctuation Pe finalpunctuation Pf "
    "initialpunctuation Pi otherpunctuation Po openpunctuation Ps symbol S currencysymbol Sc modifiersymbol Sk "
    "mathsymbol Sm othersymbol So separator Z lineseparator Zl paragraphseparator Zp spaceseparator Zs "
    "upper Uppercase uppercase Uppercase "
    "digit Nd cntrl Cc emoji Emoji emojipresentation Emoji_Presentation emojimodifier Emoji_Modifier "
    "extendedpictographic Extended_Pictographic ideographic Ideographic idstart ID_Start  "
    "math Math dash Dash variationselector Variation_Selector";

const std::unordered_map<std::string, std::string>& properties() {
  static const auto table = [] {
    std::unordered_map<std::string, std::string> made;
    std::istringstream words(kProperties);
    for (std::string name, pcre2; words >> name >> pcre2;) {
      made.emplace(name, pcre2);
      if (pcre2.size() <= 2)  // a general category: also by its short name
        made.emplace(pcre2.size() == 1 ? std::string{static_cast<char>(std::tolower(pcre2[0]))}
                                       : std::string{static_cast<char>(std::tolower(pcre2[0])), pcre2[1]},
                     pcre2);
    }
    return made;
  }();
  return table;
}

}  // namespace

CharacterSet property(const std::string& name) { return {"\\p{" + name + "}", "\\P{" + name + "}"}; }

std::optional<CharacterSet> named_set(const std::string& name) {
  if (name == "space" || name == "whitespace") return ranges(kWhiteSpace);
  if (name == "blank") return CharacterSet{"\\t\\p{Zs}", ""};
  if (name == "xdigit" || name == "asciihexdigit" || name == "ahex") return ranges(kHexDigits);
  if (name == "ascii") return ranges(kAscii);
  const auto found = properties().find(name);
  if (found == properties().end()) return std::nullopt;
  return property(found->second);
}

}  // namespace troupe
