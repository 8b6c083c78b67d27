#!/usr/bin/env python3
"""No lambda takes a structured binding: bindings_test.py ROOT.

Clang refuses that before version 16, and sanitizers and fuzzers are built with Debian's 14. GCC takes it, so that only
this test says so in an ordinary build. It goes by indentation and braces, which is enough for formatted code.
"""

import pathlib
import re
import sys

BINDING = re.compile(r"auto&{0,2} \[([\w, ]+)\]")
LAMBDA = re.compile(r"(?<![\w\])])\[([&=]|[&\w, =]+)\]\s*(\([^()]*(?:\([^()]*\)[^()]*)*\))?[\s\w:<>\->]*\{")


def indentation(line):
    return len(line) - len(line.lstrip())


def body_of(text, begin):
    """What the brace before `begin` opens."""
    depth, at = 1, begin
    while at < len(text) and depth:
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        at += 1
    return text[begin:at]


def taken_bindings(lines):
    for number, line in enumerate(lines):
        for binding in BINDING.finditer(line):
            inner = indentation(line) + ("for (" in line[: binding.start()])  # a loop's binding ends with its body
            end = number + 1
            while end < len(lines) and (not lines[end].strip() or indentation(lines[end]) >= inner):
                end += 1
            scope = "\n".join([line[binding.end() :], *lines[number + 1 : end]])
            for found in LAMBDA.finditer(scope):
                body, captures, parameters = body_of(scope, found.end()), found[1], found[2] or ""
                for name in re.findall(r"\w+", binding[1]):
                    word = rf"\b{name}\b"
                    is_new = re.search(word, parameters) or re.search(word + " =", captures)
                    if not is_new and re.search(r"(?<![\w.>])" + name + r"\b", body):
                        yield number + 1, name


def main():
    example = ["  const auto& [a, b] = pair;", "  each([&](int i) {", "    use(a, i);", "  });"]
    assert list(taken_bindings(example)) == [(1, "a")], "the example is not found"
    root, failed = pathlib.Path(sys.argv[1]), False
    files = [file for folder in ("src", "include", "tests", "fuzz") for file in (root / folder).rglob("*.*")]
    for file in sorted(file for file in files if file.suffix in (".h", ".cpp", ".cu")):
        for line, name in taken_bindings(file.read_text(errors="replace").split("\n")):
            print(f"{file}:{line}: {name}: expected no lambda to take a structured binding (Clang 14); name a reference")
            failed = True
    return failed


sys.exit(main())
