#include "data/corpus/parsers/parser.h"

#include "base/error.h"
#include "data/corpus/parsers/arff.h"
#include "data/corpus/parsers/dictd.h"
#include "data/corpus/parsers/html.h"
#include "data/corpus/parsers/man.h"
#include "data/corpus/parsers/r_data.h"
#include "data/corpus/parsers/sections.h"

namespace troupe::corpus {
namespace {

void r_chapters(const PackageFile& file, const Emit& emit) {
  for (const std::string& object : read_r_database(file.bytes)) {
    std::string novel;
    for (const std::string& line : read_r_strings(object)) novel.append(line) += '\n';
    split_at_headings(novel, is_chapter_heading, emit);
  }
}

void dictd(const PackageFile& file, const Emit& emit) {
  const std::string stem = file.path.substr(0, file.path.rfind('.'));  // NAME.index beside NAME.dict.dz, which is gzip
  parse_dictd(file.bytes, file.read(stem + ".dict.dz"), emit);
}

// The stories keep some of the SGML they came in.
void reuters(const PackageFile& file, const Emit& emit) {
  parse_arff(file.bytes, [&](std::string story) {
    const auto replace = [&](std::string_view from, std::string_view to) {
      for (size_t at = 0; (at = story.find(from, at)) != std::string::npos; at += to.size())
        story.replace(at, from.size(), to);
    };
    replace("&#3;", "");  // end of text
    replace("&lt;", "<");
    replace("&gt;", ">");
    replace("&amp;", "&");
    emit(std::move(story));
  });
}

void changelog(const PackageFile& file, const Emit& emit) { split_at_headings(file.bytes, is_release_heading, emit); }

void markdown(const PackageFile& file, const Emit& emit) {
  split_at_headings(file.bytes, is_numbered_heading, [&](std::string section) { emit(markdown_to_text(section)); });
}

void crawl(const PackageFile& file, const Emit& emit) { split_records(file.bytes, "%%%%", '#', emit); }

void fortunes(const PackageFile& file, const Emit& emit) { split_records(file.bytes, "%", '\0', emit); }

void html(const PackageFile& file, const Emit& emit) { emit(html_to_text(file.bytes)); }

void man(const PackageFile& file, const Emit& emit) { emit(man_page_to_text(file.bytes)); }

struct Row {
  std::string_view name;
  Parser parser;
};
constexpr Row kParsers[] = {
    {"r-chapters", r_chapters}, {"dictd", dictd}, {"reuters", reuters}, {"changelog", changelog},
    {"markdown", markdown},     {"crawl", crawl}, {"html", html},       {"man", man},
    {"fortunes", fortunes}};

}  // namespace

Parser find_parser(std::string_view name) {
  for (const Row& row : kParsers)
    if (row.name == name) return row.parser;
  fail(ErrorCode::kInternal, "corpus: no parser is called {}", name);
}

std::vector<std::string_view> parser_names() {
  std::vector<std::string_view> names;
  for (const Row& row : kParsers) names.push_back(row.name);
  return names;
}

}  // namespace troupe::corpus
