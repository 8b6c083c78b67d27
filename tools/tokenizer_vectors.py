#!/usr/bin/env python3
"""Writes tests/data/tokenizer: small tokenizer.json files of every kind that Troupe reads, and ids that Hugging Face
tokenizers gives for hard texts. Needs `pip install tokenizers`. Run from the repository root; the output is committed.

vectors.jsonl: {"tokenizer": file or "gpt2-bpe", "text": ..., "ids": [...], "decoded": if not the text}
"""
import json
import pathlib
import random

from tokenizers import AddedToken, Regex, Tokenizer, __version__, decoders, models, pre_tokenizers, processors, trainers

ROOT = pathlib.Path("tests/data")
OUT = ROOT / "tokenizer"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")

CASED = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+%s"
         r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*%s|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n/]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")
CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
NEMO, O200K = CASED % ("", "", ""), CASED % (CONTRACTION, CONTRACTION, "{1,3}")
DEEPSEEK = [r"\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+",
            "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
            "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"]

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


# What the other steps change: normal forms, U+2581, the names of bytes, digits, kana and ideographs side by side.
MORE = ["\u1100\u1161\u11a8", "\u0958", "\u212b", "\u2126 \ufb01", "q\u0323\u0307", "q\u0307\u0323", "\u0344", "\u1e9b\u0323", "a\u0315\u0300\u05ae\u0300b",
        "\u2000\u2001", "e\u0301 \u00e9", "’e\u0301’", "\u0301\u0301", "x\u0338=\u0338", "▁", "▁▁a", " ▁ a", "a▁b", "a ▁b", "<0x0A>", "<0x0a>\n", "a\tb",
        "12 345 6", "a1b22c333", "½3", "漢字かなカナ123ひら", "HTMLParser", "XMLHttpRequest's", "ABCdef DEFabc", "path/to//file\n/", "e\u0301\u0301E\u0301",
        "<s>", "a<s>b", " <s> b", "<s> <s>", "</s>", "<unk>", "   three", "a    b", "a     b ", "\n\n\n   x", "  ", "     ", "é  e\u0301", "as\u0323\u0307sb", "a\u1e69s b s\u0307\u0323s"]


def merge_document(document, pairs=False):
    merges = [m if isinstance(m, list) else m.split(" ") for m in document["model"]["merges"]]
    document["model"]["merges"] = merges if pairs else [" ".join(m) for m in merges]
    return Tokenizer.from_str(json.dumps(document)), document


def published(text, vocab_size):
    """Files of the shape that families publish, trained on `text`: {name: (tokenizer, document)}."""
    made = {}

    def byte_level(name, steps, **parts):
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps) if len(steps) > 1 else steps[0]
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.train_from_iterator([text], trainers.BpeTrainer(
            vocab_size=vocab_size, min_frequency=2, show_progress=False, special_tokens=["<unk>", "<s>", "</s>"],
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())))
        tokenizer.add_tokens(parts.pop("added", []))
        document = json.loads(tokenizer.to_str())
        document["model"]["ignore_merges"] = parts.pop("ignore_merges", False)
        document.update(parts)
        made[name] = merge_document(document, pairs=len(made) % 2 == 1)

    def split(pattern, behavior="isolated", invert=False):
        return pre_tokenizers.Split(Regex(pattern), behavior, invert)

    plain = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bos = json.loads(processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)]).__getstate__())
    both = json.loads(processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A </s> $B:1 </s>:1",
                                                    special_tokens=[("<s>", 1), ("</s>", 2)]).__getstate__())
    offsets = json.loads(processors.ByteLevel(trim_offsets=False).__getstate__())
    byte_level("llama3", [split(LLAMA3), plain], ignore_merges=True,
               post_processor={"type": "Sequence", "processors": [offsets, bos]})
    byte_level("qwen", [split(LLAMA3.replace("{1,3}", "")), plain], normalizer={"type": "NFC"})
    byte_level("olmo", [pre_tokenizers.ByteLevel(add_prefix_space=False)], normalizer={"type": "NFC"},
               added=[AddedToken(" " * n, normalized=True) for n in range(8, 1, -1)] + [AddedToken("s\u0323\u0307s", normalized=True)])
    byte_level("smollm", [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    byte_level("nemo", [split(NEMO), plain], ignore_merges=True, post_processor=both)
    byte_level("o200k", [split(O200K, "removed", True), plain])
    byte_level("deepseek", [split(p) for p in DEEPSEEK] + [plain], normalizer={"type": "Sequence", "normalizers": []})
    byte_level("digits_prefix", [pre_tokenizers.Digits(individual_digits=False), pre_tokenizers.ByteLevel(add_prefix_space=True)])

    def characters(name, normalizer, pre_tokenizer, opens, **parts):
        """SentencePiece's kind: spaces as U+2581, <0x00> to <0xFF> for characters without a token."""
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
        alphabet = sorted({c for c in text if ord(c) < 0x250 and c not in "\n\tQZ"})
        tokenizer.train_from_iterator([text], trainers.BpeTrainer(
            vocab_size=vocab_size, min_frequency=2, show_progress=False, special_tokens=[], initial_alphabet=alphabet,
            limit_alphabet=len(alphabet) + 40))
        document = json.loads(tokenizer.to_str())
        names = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
        names += [n for n in document["model"]["vocab"] if n not in names] + ["▁▁", "▁▁▁▁"]
        document["model"].update(vocab={n: i for i, n in enumerate(dict.fromkeys(names))}, byte_fallback=True, fuse_unk=True, unk_token="<unk>")
        merges = [m if isinstance(m, list) else m.split(" ") for m in document["model"]["merges"]]
        document["model"]["merges"] = [["▁", "▁"], ["▁▁", "▁▁"]] + merges
        steps = [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]
        if opens:
            steps.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
        flags = dict(single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
        document.update(normalizer=normalizer, pre_tokenizer=pre_tokenizer, decoder={"type": "Sequence", "decoders": steps}, post_processor=bos,
                        added_tokens=[{"id": i, "content": c, **flags} for i, c in enumerate(["<unk>", "<s>", "</s>"])] +
                        [{"id": len(document["model"]["vocab"]), "content": "<tool name>", **dict(flags, normalized=True, special=False)}])
        document.update(parts)
        made[name] = merge_document(document, pairs=True)

    replace = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    characters("llama2", {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, replace]}, None, True)
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
    characters("mistral", None, metaspace, True)
    characters("metaspace_split", None, dict(metaspace, prepend_scheme="always", split=True), True,
               decoder={"type": "Sequence", "decoders": [{"type": "ByteFallback"}, dict(metaspace, prepend_scheme="always")]})
    characters("gemma", replace, {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False}, False)
    return made


def train(pre_tokenizer, vocab_size, pairs=False, **model):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator([TRAINING_TEXT], trainers.BpeTrainer(
        vocab_size=vocab_size, min_frequency=2, special_tokens=["<|endoftext|>"], show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())))
    document = json.loads(tokenizer.to_str())
    document["model"].update(model)
    return merge_document(document, pairs)


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
        for name, (tokenizer, document) in published(TRAINING_TEXT, 450).items():
            made[f"published/{name}.json"] = (tokenizer, document)
            for text in texts[::2] + MORE:
                encoding = tokenizer.encode(text)
                row = {"tokenizer": f"published/{name}.json", "text": text, "ids": encoding.ids}
                decoded = tokenizer.decode(encoding.ids, skip_special_tokens=False)
                out.write(json.dumps(row if decoded == text else dict(row, decoded=decoded)) + "\n")
    for name, (_, document) in made.items():
        (OUT / name).parent.mkdir(exist_ok=True)
        (OUT / name).write_text(json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n")
    (OUT / "training.json").write_text(json.dumps({"text": TRAINING_TEXT, "min_count": 2}, ensure_ascii=False) + "\n")
    (OUT / "README.md").write_text(f"""# Tokenizer vectors

Made by `tools/tokenizer_vectors.py` with Hugging Face tokenizers {__version__}: tokenizer files of each kind, trained on a
text of our own (`training.json`; `byte_level.json` is the result for 600 tokens), and in `vectors.jsonl` the ids it gives.
`published/` has files of the shape that families of models publish, with `decoded` where decoding gives another text.
""")


if __name__ == "__main__":
    main()
