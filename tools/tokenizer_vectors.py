#!/usr/bin/env python3
"""Writes tests/data/tokenizer: small tokenizer.json files of every kind that Troupe reads, and ids that Hugging Face
tokenizers gives for hard texts. Needs `pip install tokenizers`. Run from the repository root; the output is committed.

vectors.jsonl: {"tokenizer": file or "gpt2-bpe", "text": ..., "ids": [...]}
"""
import json
import pathlib
import random

from tokenizers import AddedToken, Regex, Tokenizer, __version__, decoders, models, pre_tokenizers, trainers

ROOT = pathlib.Path("tests/data")
OUT = ROOT / "tokenizer"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")

TRAINING_TEXT = """
The troupe came to town in the rain, as troupes do, and by the evening the whole town had come to the troupe.
They'd put up the stage, they've hung the lamps; it's 1,234 nails and 56 boards, we're told, and I'm sure it isn't true.
"Who's there?" said the oldest actor. "Nobody," said the youngest. "Then I'll wait," said the oldest, and he'd waited
before. Les acteurs étaient là, déjà prêts; die Schauspieler übten noch; актёры уже ждали на сцене; 俳優たちは舞台で待っていた。
    if (curtain.is_open()) {
        play(act_1, act_2, act_3);   // three acts
    }
The curtain, the curtain! The lamps, the lamps! The boards and the nails, the rain and the town, and the troupe again.
""" * 3

HARD = [
    "", " ", "  ", "   ", "\n", "\n\n", " \n", "\n ", "\t", "\t\t x", "a", " a", "  a", "a ", "a  ", "a\n", "a \n b", "a\r\nb\r\n",
    "it's", "IT'S", "it’s", "'s", " 's", "''s", "'S'T'RE", "they'll've", "'", "' '", "'l", "'ll", "'llama", "x'", "don't won't",
    "1", "12", "123", "1234", "12345", "1a2b", "3.14", "1,234,567", "½", "²x²", "Ⅷ", "٣٤", "x٣", "1٣",
    "a\u180eb", "a \u180e b", "\u180e", " \u180e", "a\u0085b", "\u0085", "\u0085\u0085x", "a\u00a0b", "\u00a0\u00a0b", " \u00a0b",
    "a\u1680b", "a\u2000\u2001\u200ab", "a\u200bb", "a\u200db", "a\u2028b\u2029c", "a\u202fb", "a\u205fb", "a\u3000b", "\u3000\u3000x",
    "a\u001cb", "a\u001d\u001e\u001fb", "\u001c \u001c", "a\u000bb", "a\u000cb", "a\u0000b", "\u0000", "\u0000\u0000", " \u0000 ",
    "a\u007fb", "a\ufeffb", "\ufeffa", "a\ufffdb", "\uffff", "\U0010ffff", "\ue000",
    "é", "e\u0301", "e\u0301e\u0301", " e\u0301", "o\u0308\u0304x", "\u0301", " \u0301a", "ก็", "नमस्ते", "가나다", "ᄀ",
    "日本語テキスト", "中文 混合 text", "русский язык", "ελληνικά", "עברית", "العربية", "ﷺ", "ſ", "'ſ", "ß", "ǅ", "ʰ", "ª", "º", "𝒜𝓑", "𐍈",
    "😀", " 😀", "😀😀", "👩‍👩‍👧‍👦", "🇩🇪🇫🇷", "👍🏽", "a😀b", "☃", "☃️", "©®™", "€100", "—", "…", "“quoted”", "a—b", "-", "--", "-----", "= = =",
    "foo_bar", "_", "__init__", "snake_case_2", "a.b.c", "http://x.y/z?a=1&b=2", "\\n", "\"", "<|endoftext|>", "<|endoftext|", "<<|endoftext|>>",
    "a<|endoftext|>b", " <|endoftext|> ", "<|endoftext|><|endoftext|>", "The rain.\n\n\n  The town.\n\n", "    if (x) {\n\t\treturn;\n    }\n",
    "x" * 100, " " * 100, "\n" * 50, "ab" * 70, "é" * 60, "1" * 90, "!" * 80, " \n" * 30, "=" * 65 + "x", "The " * 40,
    "<pad>", "<mask>", "a <mask> b", "a  <mask>  b", "a\u3000<mask>\u00a0b", "<mask><mask>", " <mask> <mask> ", "<long", "<longer>", "<longest",
    "the<sep>the", "the <sep> the", "the  <sep>\n\nthe", "<sep><mask><sep>", "new word", "new words", "xnewx", "<tool name>", "x<tool name>y",
]
ALPHABET = ["a", "b", "T", "the", "rain", " ", " ", "  ", "\n", "\r\n", "\t", "'", "'s", "'ll", "1", "23", "é", "e\u0301", "я", "語", "😀", "\u200d", "\u180e",
            "\u0085", "\u00a0", "\u3000", "\u001c", "\u0000", "!", ".", "_", "-", "½", "<mask>", "<sep>", "<pad>", "<long", "<longer>", "new", "’", "\u2028", "ſ"]


def train(pre_tokenizer, vocab_size, pairs=False, **model):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator([TRAINING_TEXT], trainers.BpeTrainer(
        vocab_size=vocab_size, min_frequency=2, special_tokens=["<|endoftext|>"], show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())))
    document = json.loads(tokenizer.to_str())
    document["model"].update(model)
    merges = document["model"]["merges"]
    document["model"]["merges"] = [m if isinstance(m, list) else m.split(" ") for m in merges]
    if not pairs:
        document["model"]["merges"] = [" ".join(m) for m in document["model"]["merges"]]
    return Tokenizer.from_str(json.dumps(document)), document


def whole_words(pre_tokenizer, vocab_size):
    """ignore_merges with tokens that no merge makes, as vocabularies converted from tiktoken have them."""
    tokenizer, document = train(pre_tokenizer, vocab_size, pairs=True, ignore_merges=True)
    dropped = [m for m in document["model"]["merges"] if m[0] + m[1] in ("Ġtroupe", "Ġthe", "ction", "123")]
    document["model"]["merges"] = [m for m in document["model"]["merges"] if m not in dropped]
    return Tokenizer.from_str(json.dumps(document)), document


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    split = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
                                     pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    made = {"byte_level.json": train(byte_level, 600), "split_whole_words.json": whole_words(split, 600),
            "prefix_space.json": train(pre_tokenizers.ByteLevel(add_prefix_space=True), 500, pairs=True)}
    tokenizer, document = train(byte_level, 450)
    tokenizer.add_special_tokens([AddedToken("<pad>", special=True), AddedToken("<mask>", special=True, lstrip=True),
                                  AddedToken("<sep>", special=True, rstrip=True), AddedToken("<long", special=True),
                                  AddedToken("<longer>", special=True)])
    tokenizer.add_tokens([AddedToken("new word"), AddedToken("new"), AddedToken("<tool name>", normalized=False), AddedToken("the rain")])
    made["added_tokens.json"] = (tokenizer, json.loads(tokenizer.to_str()))

    rng = random.Random(1)
    texts = HARD + ["".join(rng.choice(ALPHABET) for _ in range(rng.randint(2, 24))) for _ in range(150)]
    gpt2 = Tokenizer(models.BPE.from_file(str(ROOT / "gpt2-bpe/encoder.json"), str(ROOT / "gpt2-bpe/vocab.bpe")))
    gpt2.pre_tokenizer = byte_level
    with open(OUT / "vectors.jsonl", "w") as out:
        for name, tokenizer in [("gpt2-bpe", gpt2)] + [(name, made[name][0]) for name in made]:
            for text in texts:
                ids = tokenizer.encode(text).ids
                out.write(json.dumps({"tokenizer": name, "text": text, "ids": ids}) + "\n")
    for name, (_, document) in made.items():
        (OUT / name).write_text(json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n")
    (OUT / "training.json").write_text(json.dumps({"text": TRAINING_TEXT, "min_count": 2}, ensure_ascii=False) + "\n")
    (OUT / "README.md").write_text(f"""# Tokenizer vectors

Made by `tools/tokenizer_vectors.py` with Hugging Face tokenizers {__version__}: tokenizer files of each kind, trained on a
text of our own (`training.json`; `byte_level.json` is the result for 600 tokens), and in `vectors.jsonl` the ids it gives.
""")


main()
