#!/usr/bin/env python3
"""Writes tests/data/tokenizer/patterns.jsonl: how Hugging Face tokenizers (Oniguruma) reads patterns that Troupe translates
for PCRE2. Needs `pip install tokenizers` and a Python whose Unicode is 14, as PCRE2 10.42's. Run from the repository root.

{"pattern": ..., "text": ..., "words": [...]}       pieces of a Split, isolated
{"set": ..., "characters": N, "crc32": N}           the characters that Unicode 14 assigns and the set has, in UTF-8
"""
import json
import unicodedata
import zlib

from tokenizers import Regex, pre_tokenizers

assert unicodedata.unidata_version == "14.0.0"
PATTERNS = {  # with texts that tell readings apart
    r"\p{Han}+|.": ["世界。！、々〆ー한ア", "a漢b"], r"\p{Katakana}|\p{Hiragana}+|.": ["アーいー゛。", "カ゚"], r"\p{Script_Extensions=Han}|.": ["、"],
    r"\p{N}{1,3}+|[^\p{N}]+": ["12345", "1a23456b"], r"y\p{N}{2}?|.": ["y12345"], r"x{1,2}?|.": ["xxxx"], r"x{2}+|.": ["xxxxx"],
    r"x{,2}y|.": ["xxxy", "y", "x{,2}y"], r"x{2,}|.": ["xxxx"], r"x{,}|.": ["x{,}"], r"x{|.": ["x{x"], r"x{a}|.": ["x{a}"], r"x{1, 2}|.": ["x{1, 2}xx"],
    r"a++a|.": ["aaa"], r"a*+b|.": ["aab"], r"a?+a|.": ["aa"], r"a+?|.": ["aaa"], r"(?:ab){2}|.": ["abab"], r"(?:ab){1,2}+|.": ["ababab"],
    r"(a|b)c{1,2}+|.": ["acccbc"], r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|.": ["'S'ſ'RE'Ll"], r"(?i)k|.": ["kKK"], r"a(?i)b|c|.": ["aBaCbc"],
    r"(a(?i)b|c)d|.": ["aBdaCdcd"], r"x(?i:a)b|.": ["xAbxAB"], r"(?i:[a-c]+)|.": ["aBCd"], r"(?i:[^k]+)|.": ["aKKb"], r"(?m:a.b)|.|\n": ["a\nba.b"],
    r"a.b|.|\n": ["a\nbaxb", "a\rb"], r"(?m)a.|c": ["a\na"], r"(?-i:a)|.": ["aA"], r"(?im-i:A.)|.|\n": ["a\nA\n"],
    r"^a|.|\n": ["aa\na", "\na\n"], r"a$|.|\n": ["aa\na\n", "a"], r"\Aa|.": ["aa"], r"a\z|.|\n": ["aa\n", "aa"], r"a\Z|.|\n": ["aa\n", "aa\n\n"],
    r"\d+|\D+": ["1２٣½²"],
    r"\h+|\H+": ["12afAFgＡ"], r"[\h\-]+|.": ["a-f-g"], r"[^\S\n]+|.|\n": ["a \n\t b"], r"[\D]+|\d": ["a1"], r"\s+|\S+": ["a \u180e\u0085\u00a0b"],
    r"\v|\S": ["\x0b\x85"], r"\a|\e|.": ["\x07\x1b"], r"\R|.": ["\r\n\n\r\x0b\x85\u2028"], r"[\b]|.": ["\b"], r"\t|\f|.": ["\t\f"],
    "\\u00e9+|.": ["éé\x00"], r"\x41|\x{e9}|\x{1F600}|.": ["Aé😀"], r"[\x{4e00}-\x{9fff}\u3040-\u30ff]+|.": ["世界アx"],
    r"\p{^L}+|.": ["12ab"], r"\P{^L}+|.": ["12ab"], r"\p{Uppercase_Letter}|\p{lower case letter}+|.": ["ABcd"], r"[\p{L}\p{M}]+|.": ["e\u0301a1"],
    r"[\P{L}]+|.": ["12ab"], r"[[:upper:]]+|.": ["AB1É"], r"[[:^upper:]]+|.": ["AB1É"], r"[[:space:]]|.": [" \xa0a"],
    r"[a-]+|.": ["a-b"], r"[-a]+|.": ["a-b"], r"[\-a]+|.": ["a-b"], r"[a^]+|.": ["a^b"], r"[.*+?(){}|$]+|.": [".*+?(){}|$x"], r"[a&b]+|.": ["a&b"],
    r"(?<name>a)b|.": ["ab"], r"(?<=a)b|.": ["abb"], r"(?<!a)b|.": ["abb"], r"a(?=b)|.": ["aba"], r"a(?!b)|.": ["aba"], r"(?>a+)b|.": ["aab"], r"a]|.": ["a]"],
    r"a}|.": ["a}"], "é{2}|.": ["ééé"], r"\.\*\#\ \-|.": [".*# -"], r"\s+(?!\S)|\s+|\S": ["a   b"], r"\s*[\r\n]+|.": ["a \r\n\nb"],
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+":
        ["Hello World's DON'T 12345  x/\n\n é世界 ǅa"],
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+":
        ["(Hello) $x 12 \\y [z] `q"],
}
SETS = [r"\d", r"\s", r"\S", r"\h", r"\H"] + [rf"[[:{n}:]]" for n in "ascii blank cntrl digit space upper xdigit".split()] + [
    rf"\p{{{n}}}" for n in "L Ll Lm Lo Lt Lu M Me N Nd Nl No P Pc Pd Pe Pf Pi Po Ps S Sc Sk Sm So Z Zl Zp Zs C Cc Cf Co Letter Combining_Mark Dash_Punctuation Other_Symbol "
    "Blank Digit Space Upper XDigit Uppercase White_Space Emoji Emoji_Presentation Emoji_Modifier Extended_Pictographic "
    "Ideographic ID_Start Math Dash Variation_Selector ASCII_Hex_Digit Han Hiragana Katakana Hangul Latin Cyrillic Greek Arabic Hebrew Thai Devanagari "
    "Common Inherited Bopomofo Armenian Georgian Bengali Tamil Ethiopic Khmer Hani Latn".split()]


def main():
    every = "".join(chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000 and not 0xE000 <= c < 0xF900 and c < 0xF0000 and unicodedata.category(chr(c)) != "Cn")
    with open("tests/data/tokenizer/patterns.jsonl", "w") as out:
        for pattern, texts in PATTERNS.items():
            for text in texts:
                try:
                    split = pre_tokenizers.Split(Regex(pattern), "isolated")
                except Exception as error:
                    print("not read by Hugging Face:", pattern, error)
                    continue
                words = [word for word, _ in split.pre_tokenize_str(text)]
                out.write(json.dumps({"pattern": pattern, "text": text, "words": words}) + "\n")
        for name in SETS:
            try:
                split = pre_tokenizers.Split(Regex(name), "removed")
            except Exception as error:
                print("not read by Hugging Face:", name, error)
                continue
            others = set("".join(piece for piece, _ in split.pre_tokenize_str(every)))
            members = "".join(c for c in every if c not in others).encode()
            out.write(json.dumps({"set": name, "characters": len(members.decode()), "crc32": zlib.crc32(members)}) + "\n")


main()
