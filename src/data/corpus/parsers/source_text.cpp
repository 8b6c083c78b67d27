#include "data/corpus/parsers/source_text.h"

#include "data/corpus/parsers/lines.h"
#include "data/text/archive.h"

namespace troupe::corpus {

void parse_source(std::string_view source, const Emit& emit) {
  if (source.size() <= kMaxSourceBytes) emit(std::string(source));
}

void parse_source_archive(std::string_view archive, const Emit& emit) {
  constexpr size_t kMaxMemberBytes = 1u << 28;
  for_each_member(*memory_source(archive), [&](const std::string& path, ByteSource& bytes) {
    if (path.ends_with(".c") || path.ends_with(".h")) parse_source(read_all(bytes, kMaxMemberBytes), emit);
  });
}

void split_tex(std::string_view tex, const Emit& emit) {
  std::string section;
  for_each_line(tex, [&](std::string_view line) {
    if (line.starts_with('%')) return;
    const bool heading = line.starts_with("\\section") || line.starts_with("\\subsec") ||
                         line.starts_with("\\subsubsec") || line.starts_with("\\chapter");
    if (heading && !is_blank(section)) {
      emit(std::move(section));
      section.clear();
    }
    section.append(line) += '\n';
  });
  emit(std::move(section));
}

void parse_metamath(std::string_view database, const Emit& emit) {
  size_t at = 0;
  const auto next = [&] {
    at = std::min(database.find_first_not_of(" \t\r\n\f", at), database.size());
    const size_t end = std::min(database.find_first_of(" \t\r\n\f", at), database.size());
    const std::string_view word = database.substr(at, end - at);
    at = end;
    return word;
  };
  std::string_view comment, label;
  for (std::string_view word; !(word = next()).empty();) {
    if (word == "$(") {
      const size_t begin = at, end = std::min(database.find("$)", at), database.size());
      comment = database.substr(begin, end - begin);
      at = std::min(end + 2, database.size());
      label = {};
    } else if (word == "$a" || word == "$p") {
      std::string formula;
      for (std::string_view symbol; !(symbol = next()).empty() && symbol != "$." && symbol != "$=";)
        if (symbol != "$(") formula.append(formula.empty() ? "" : " ").append(symbol);
      if (!label.empty() && !is_blank(trim(comment))) {
        std::string text;
        for_each_line(trim(comment), [&](std::string_view line) { text.append(trim(line)) += '\n'; });
        emit(text + std::string(label) + " " + std::string(word) + " " + formula + "\n");
      }
      comment = label = {};
    } else if (word[0] != '$') {
      label = word;
    } else if (word == "$e" || word == "$f" || word == "$c" || word == "$v" || word == "$d") {
      const size_t end = database.find("$.", at);
      at = end == database.npos ? database.size() : end + 2;
    }
  }
}

void parse_perl_license(std::string_view module, const Emit& emit) {
  constexpr std::string_view kMark = "__LICENSE__\n";
  const size_t at = module.find(kMark);
  if (at != module.npos) emit(std::string(module.substr(at + kMark.size())));
}

}  // namespace troupe::corpus
