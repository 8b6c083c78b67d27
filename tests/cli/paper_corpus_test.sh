#!/bin/bash
# troupe corpus build paper --from: small files in the forms in which the paper's six sets are released.
# Usage: paper_corpus_test.sh PROGRAM
. "$(dirname "$0")/expect.sh"

cat >make.py <<'PYTHON'
import bz2, gzip, io, json, lzma, pathlib, tarfile

def write(path, data):
    pathlib.Path("sets", path).parent.mkdir(parents=True, exist_ok=True)
    pathlib.Path("sets", path).write_bytes(data)

def tar(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()

def sentence(kind, i):
    return f"The {kind} number {i} has {i * 7919} parts and {i * i} holes, {i * 31 + 5} of them round."

def record(kind, content, uri="http://news.example/a"):
    return (f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {uri}\r\nContent-Length: {len(content)}\r\n\r\n").encode() + content + b"\r\n\r\n"

# BookCorpus: a folder of books, and more of them in a tar
for i in range(20):
    write(f"BookCorpus/books/{i:02}.txt", f"Chapter 1\n\n{sentence('book', i)}\n".encode())
write("BookCorpus/more.tar.gz", gzip.compress(tar([(f"more/{i}.txt", sentence("book", i).encode()) for i in range(20, 30)])))
write("BookCorpus/cover.png", b"\x89PNG")
write("BookCorpus/books/latin.txt", b"caf\xe9")
# Wikipedia: two bz2 streams, as multistream dumps are
page = "<page><title>T{i}</title><ns>{ns}</ns><id>1</id>{more}<revision><id>2</id><text xml:space=\"preserve\">{text}</text></revision></page>\n"
text = "{{Infobox|a={{b}}}}'''T{i}''' is &amp;lt; a [[thing|''thing'']].&lt;ref&gt;no&lt;/ref&gt; " + "{words}\n\n== See also ==\n* [[Other]]\n[[Category:Things]]"
pages = [page.format(i=i, ns=0, more="", text=text.replace("{i}", str(i)).replace("{words}", sentence("article", i))) for i in range(30)]
pages += [page.format(i=100, ns=1, more="", text="talk"), page.format(i=101, ns=0, more="<redirect title=\"T1\" />", text="#REDIRECT [[T1]]")]
xml = "<mediawiki><siteinfo><sitename>W</sitename></siteinfo>\n" + "".join(pages) + "</mediawiki>\n"
half = len(xml) // 2
write("enwiki-20190301-pages-articles.xml.bz2", bz2.compress(xml[:half].encode()) + bz2.compress(xml[half:].encode()))
# CC-News: WARC, each record a gzip member, and JSON lines
html = "<html><head><title>x</title></head><body><nav>Home and more and more of this and that.</nav><h1>Title</h1><p>{}</p></body></html>"
http = "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n"
write("cc-news/CC-NEWS-0001.warc.gz", gzip.compress(record("warcinfo", b"software: x")) +
      b"".join(gzip.compress(record("response", (http + html.format(sentence("story", i))).encode())) for i in range(15)) +
      gzip.compress(record("response", b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\nPNG")))
write("cc-news/more.jsonl", b"".join(json.dumps({"maintext": sentence("story", i)}).encode() + b"\n" for i in range(15, 30)))
# OpenWebText: tar of .xz parts, which are tar of .txt
parts = [(f"openwebtext/urlsf_subset{p:02}-{p}_data.xz", lzma.compress(tar([(f"{p:04}-{i}.txt", sentence("page", 10 * p + i).encode()) for i in range(10)])))
         for p in range(3)]
write("openwebtext.tar", tar(parts))
# CC-Stories and CC100: texts between blank lines
write("cc_stories.txt", "\n\n".join(sentence("tale", i) + "\nThe end." for i in range(30)).encode())
write("cc100/en.txt.xz", lzma.compress("\n\n".join(sentence("crawl", i) for i in range(30)).encode()))
PYTHON
python3 make.py || fail "make.py"
build() { "$program" corpus build paper "$@"; }

expect "all six" 0 "bookcorpus  " build --from sets --out c --valid-share 0.2
for domain in bookcorpus wikipedia cc_news openwebtext cc_stories cc100; do
  [ "$(cat c/train/$domain.jsonl c/valid/$domain.jsonl | wc -l)" -eq 30 ] || fail "$domain: $(wc -l c/*/$domain.jsonl)"
done
line() { expect "$1" 0 "$2" cat c/train/"$3".jsonl c/valid/"$3".jsonl; }
line "a book" '{"text":"Chapter 1\n\nThe book number 0 has' bookcorpus
line "a book in a tar" '"source":"BookCorpus/more.tar.gz:more/20.txt"}' bookcorpus
line "an article" '{"text":"T7\n\nT7 is < a thing. The article number 7 has 55433 parts and 49 holes, 222 of them round.\n\nSee also\nOther","source":"enwiki-20190301-pages-articles.xml.bz2:T7"}' wikipedia
line "a story of a page" '{"text":"The story number 3 has 23757 parts and 9 holes, 98 of them round.","source":"cc-news/CC-NEWS-0001.warc.gz:http://news.example/a"}' cc_news
line "a story of JSON lines" '"source":"cc-news/more.jsonl:15"}' cc_news
line "a page in a tar in a tar" '"source":"openwebtext.tar:openwebtext/urlsf_subset02-2_data.xz:0002-9.txt"}' openwebtext
line "a group of lines" 'of them round.\nThe end.","source":"cc_stories.txt:4"}' cc_stories
expect "what was passed over" 0 '"first_ignored": "BookCorpus/cover.png"' cat c/manifest.json
expect "... what is not UTF-8" 0 '"first_not_utf8": "BookCorpus/books/latin.txt"' cat c/manifest.json
expect "the program reads it" 0 "30 documents" "$program" corpus stats c/train/cc100.jsonl c/valid/cc100.jsonl
expect "the same bytes again" 0 "" build --from sets --out again --valid-share 0.2
diff -r c again || fail "two builds differ"

# A hash of the text decides, at one rate for all sets.
mkdir few && cp -r sets/cc100 sets/cc_stories.txt few
expect "absent sets are named" 0 "corpus: BookCorpus is absent: no bookcorpus* books1* in few" build --from few --out d --valid-share 0.2
cmp c/valid/cc100.jsonl d/valid/cc100.jsonl || fail "validation depends on other sets"
expect "... in the manifest" 0 '"openwebtext"' cat d/manifest.json
expect "no validation" 0 "warning: corpus: cc100: no document is validation at a share of 0.000331" build --from few --out e
[ -e e/valid/cc100.jsonl ] && fail "an empty part"
# Of 453 GB CC-Stories is 31, CC100 292: of 1510 bytes 103 and 973.
expect "a part" 0 "" build --from few --out f --valid-share 0.2 --take 1510
[ "$(cat f/*/cc_stories.jsonl | wc -l)" -eq 2 ] || fail "stories: $(wc -l f/*/*)"
[ "$(cat f/*/cc100.jsonl | wc -l)" -eq 15 ] || fail "cc100: $(wc -l f/*/*)"

expect "no sets" 2 "--from: expected at least one of bookcorpus*, wikipedia*" build --from c --out x
expect "no folder" 2 "--from: expected a folder with the sets, got none" build --from none --out x
expect "no --from" 2 "--from: expected the folder with the sets of paper" build --out x
expect "--from of another" 2 "--from: expected the folder with the sets of paper, which nothing else takes" \
  "$program" corpus build quickstart --from sets --out x
expect "a corpus is there" 2 "which holds a corpus (--force replaces it)" build --from few --out d
expect "... replaced" 0 "" build --from few --out d --force --valid-share 0.2
mkdir bad && head -c 300 sets/cc100/en.txt.xz >bad/en.txt.xz
expect "a cut file" 3 "bad/en.txt.xz: " build --from bad --out x
rm bad/* && printf 'WARC/1.0\r\nContent-Length: many\r\n\r\n' >bad/cc-news.warc
expect "a bad record" 3 'bad/cc-news.warc: record 1: Content-Length: expected a number, got "many"' build --from bad --out x
rm bad/* && echo "<mediawiki><page>" >bad/enwiki.xml
expect "bad XML" 3 "bad/enwiki.xml: line 1: expected a dump of pages (<mediawiki>), got damaged XML" build --from bad --out x
rm bad/* && echo '{"title": "x"}' >bad/ccnews.jsonl
expect "no text" 3 'bad/ccnews.jsonl: line 1: expected a string "text" or "maintext", got neither' build --from bad --out x
rm bad/* && echo >bad/en.txt
expect "an empty set" 3 "bad/en.txt: expected CC100 (en.txt.xz, a blank line between documents), got no document" build --from bad --out x
[ -e x ] && fail "left behind: $(ls x)"
expect "the list has it" 0 "paper: the sets of Artetxe et al. (2021)" "$program" corpus list

finish
