// Patterns of Hugging Face's dialect for PCRE2. Hugging Face tokenizers compiles patterns with Oniguruma 6.9.8 in
// Ruby's syntax; the two differ in more than names, so every construct that is not known to mean one thing is refused.
//
//   written alike and read alike   literals, . * + ? {n} {n,m} and their lazy forms, ?+ *+ ++, |, (...), (?:...),
//                                  (?>...), lookarounds, \t \n \r \f, \A \z \Z, classes of literals and ranges
//   translated                     \s \d \h and their complements, ^ $ (ends of lines),
//                                  \v \a \e \R \uHHHH, {,n}, {n,m}+ (repeats an interval), {n}? (an interval or
//                                  nothing),
//                                  (?i) (?m) (?im-im:...) ((?m) is PCRE2's (?s); (?i) alone opens a group to the next
//                                  end),
//                                  (?<name>...), [[:upper:]], \p{...} \P{...} \p{^...}: general categories, scripts
//                                  (not Script_Extensions), POSIX names and the binary properties of the table in the
//                                  .cpp
//   refused, by name               \pL, \w \b (Oniguruma's tables are newer), \K \G \X \y \N \O, back-references and
//   calls, octal, \x80 to \xff (bytes), control
//                                  escapes, classes in classes, && in classes, ranges with classes, (?x), comments,
//                                  conditions, absence, (*VERBS), a quantifier after a quantifier, and under (?i) what
//                                  Unicode folds to several characters (ss, ff, fi, fl, st; letters beyond ASCII) and
//                                  \p
#pragma once

#include <string>
#include <string_view>

namespace troupe {

// Throws kData "WHERE: expected ..., got CONSTRUCT (character N)".
std::string oniguruma_to_pcre2(std::string_view pattern, const std::string& where);
// The pattern that matches this text alone.
std::string literal_to_pcre2(std::string_view text);

}  // namespace troupe
