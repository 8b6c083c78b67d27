#include "data/corpus/parsers/parser.h"

#include <algorithm>

#include "base/error.h"
#include "data/corpus/parsers/arff.h"
#include "data/corpus/parsers/dictd.h"
#include "data/corpus/parsers/game_text.h"
#include "data/corpus/parsers/help_text.h"
#include "data/corpus/parsers/html.h"
#include "data/corpus/parsers/man.h"
#include "data/corpus/parsers/pod.h"
#include "data/corpus/parsers/r_data.h"
#include "data/corpus/parsers/rst.h"
#include "data/corpus/parsers/sections.h"
#include "data/corpus/parsers/source_text.h"
#include "data/corpus/parsers/sword.h"
#include "data/corpus/parsers/wordnet.h"

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

void gcide(const PackageFile& file, const Emit& emit) {
  dictd(file, [&](const std::string& entry) { emit(without_gcide_marks(entry)); });
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

void mallard(const PackageFile& file, const Emit& emit) { emit(mallard_to_text(file.bytes)); }

void text(const PackageFile& file, const Emit& emit) { emit(file.bytes); }

void outline(const PackageFile& file, const Emit& emit) { split_at_headings(file.bytes, is_outline_heading, emit); }

void emacs_news(const PackageFile& file, const Emit& emit) { split_at_headings(file.bytes, is_star_heading, emit); }

// From its title on: what precedes is about the edition.
void opticks(const PackageFile& file, const Emit& emit) {
  constexpr std::string_view kTitle = "OPTICKS:";
  const std::string_view book = file.bytes;
  split_at_headings(book.substr(std::min(book.find(kTitle), book.size())), is_part_heading, emit);
}

void pod(const PackageFile& file, const Emit& emit) { emit(pod_to_text(file.bytes)); }

void pod_questions(const PackageFile& file, const Emit& emit) { split_pod_questions(file.bytes, emit); }

void rst(const PackageFile& file, const Emit& emit) { emit(rst_to_text(file.bytes)); }

// NAME.?zv beside NAME.?zs and NAME.?zz
void sword_verses(const PackageFile& file, const Emit& emit) {
  const std::string stem = file.path.substr(0, file.path.size() - 1);  // "ot.cz"
  parse_sword_verses(file.read(stem + "s"), file.bytes, stem.ends_with("cz") ? 12 : 10, file.read(stem + "z"), emit);
}

void sword_dictionary(const PackageFile& file, const Emit& emit) {
  parse_sword_dictionary(file.bytes, file.read(file.path.substr(0, file.path.size() - 1) + "t"), emit);
}

template <void (*parse)(std::string_view, const Emit&)>
void of_bytes(const PackageFile& file, const Emit& emit) {
  parse(file.bytes, emit);
}

constexpr NamedParser kParsers[] = {
    {"r-chapters", r_chapters},
    {"dictd", dictd},
    {"reuters", reuters},
    {"changelog", changelog},
    {"markdown", markdown},
    {"crawl", crawl},
    {"html", html},
    {"html-site", html},
    {"man", man},
    {"fortunes", fortunes},
    {"text", text},
    {"text-site", text},
    {"gcide", gcide},
    {"outline", outline},
    {"emacs-news", emacs_news},
    {"opticks", opticks},
    {"mallard", mallard},
    {"pod", pod},
    {"pod-questions", pod_questions},
    {"rst", rst},
    {"sword", sword_verses},
    {"sword-dictionary", sword_dictionary},
    {"wordnet", of_bytes<parse_wordnet>},
    {"wesnoth", of_bytes<parse_wesnoth>},
    {"endless-sky", of_bytes<parse_endless_sky>},
    {"cataclysm", of_bytes<parse_cataclysm>},
    {"crossfire", of_bytes<parse_crossfire>},
    {"gearhead", of_bytes<parse_gearhead>},
    {"vim-help", of_bytes<parse_vim_help>},
    {"zim-wiki", of_bytes<parse_zim_wiki>},
    {"info", of_bytes<parse_info>},
    {"source", of_bytes<parse_source>},
    {"source-archive", of_bytes<parse_source_archive>},
    {"tex", of_bytes<split_tex>},
    {"metamath", of_bytes<parse_metamath>},
    {"perl-license", of_bytes<parse_perl_license>},
};

}  // namespace

std::span<const NamedParser> parsers() { return kParsers; }

Parser find_parser(std::string_view name) {
  for (const NamedParser& row : parsers())
    if (row.name == name) return row.parser;
  fail(ErrorCode::kInternal, "corpus: no parser is called {}", name);
}

bool has_furniture(std::string_view name) { return name.ends_with("-site"); }

}  // namespace troupe::corpus
