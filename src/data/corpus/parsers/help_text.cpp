#include "data/corpus/parsers/help_text.h"

#include <algorithm>
#include <array>
#include <utility>

#include "data/corpus/parsers/lines.h"

namespace troupe::corpus {
namespace {

bool is_ruler(std::string_view line, char mark) {
  line = trim(line);
  return line.size() >= 3 && line.find_first_not_of(mark) == line.npos;
}

// A line of Vim's help without "*target*"; "|link|" shows its name.
std::string vim_line(std::string_view line) {
  std::string out;
  for (size_t i = 0; i < line.size();) {
    const char c = line[i];
    const bool starts = i == 0 || line[i - 1] == ' ' || line[i - 1] == '\t' || (c == '|' && line[i - 1] == '(');
    if (starts && (c == '*' || c == '|')) {
      const size_t end = line.find(c, i + 1);
      const std::string_view name = end == line.npos ? "" : line.substr(i + 1, end - i - 1);
      const bool target =
          c == '*' && end != line.npos && (end + 1 == line.size() || line[end + 1] == ' ' || line[end + 1] == '\t');
      if (!name.empty() && name.find_first_of(" \t") == name.npos && (c == '|' || target)) {
        if (c == '|') out += name;
        i = end + 1;
        continue;
      }
    }
    out += c;
    ++i;
  }
  if (const size_t fold = out.rfind("{{{"); fold != out.npos && fold + 4 >= out.size()) out.resize(fold);
  if (out.ends_with(" >")) out.resize(out.size() - 2);
  if (out == ">") out.clear();
  if (out.starts_with('<') && (out.size() == 1 || out[1] == ' ' || out[1] == '\t')) out[0] = ' ';
  return out;
}

// "[[Page|words]]" and "**bold**": `mark` on both sides goes.
void drop_pairs(std::string& line, std::string_view mark) {
  for (size_t at = 0; (at = line.find(mark, at)) != line.npos;) {
    const bool address = mark == "//" && at > 0 && line[at - 1] == ':';  // https://
    const size_t end = line.find(mark, at + mark.size());
    if (end == line.npos) return;
    if (address || end == at + mark.size()) {
      at = end;
      continue;
    }
    line.erase(end, mark.size());
    line.erase(at, mark.size());
  }
}

}  // namespace

void parse_vim_help(std::string_view help, const Emit& emit) {
  std::string section;
  for_each_line(help, [&](std::string_view line) {
    if (is_ruler(line, '=')) {
      emit(std::move(section));
      section.clear();
    } else if (!line.starts_with(" vim:") && !line.starts_with("vim:")) {
      section.append(vim_line(line)) += '\n';
    }
  });
  emit(std::move(section));
}

void parse_zim_wiki(std::string_view page, const Emit& emit) {
  std::string text;
  for_each_line(page, [&](std::string_view line) {
    if (text.empty() &&
        (line.starts_with("Content-Type:") || line.starts_with("Wiki-Format:") || line.starts_with("Creation-Date:")))
      return;
    if (line.starts_with("==")) {
      const size_t begin = line.find_first_not_of("= "), end = line.find_last_not_of("= ");
      text.append(begin == line.npos ? "" : line.substr(begin, end - begin + 1)) += '\n';
      return;
    }
    if (trim(line) == "'''") return;  // begins and ends code
    std::string words(line);
    for (size_t open; (open = words.find("[[")) != words.npos;) {
      const size_t close = words.find("]]", open);
      if (close == words.npos) break;
      const std::string link = words.substr(open + 2, close - open - 2);
      const size_t bar = link.find('|');
      words.replace(open, close + 2 - open, bar == link.npos ? link : link.substr(bar + 1));
    }
    while (words.find("{{") != words.npos) {  // an image
      const size_t open = words.find("{{"), close = words.find("}}", open);
      if (close == words.npos) break;
      words.erase(open, close + 2 - open);
    }
    for (const std::string_view mark : {"**", "//", "__", "''", "~~"}) drop_pairs(words, mark);
    text.append(words) += '\n';
  });
  emit(std::move(text));
}

void parse_info(std::string_view info, const Emit& emit) {
  constexpr char kNode = '\x1f';
  constexpr std::string_view kTagOpen("\0\b[", 3), kTagClose("\0\b]", 3);
  bool first = true;  // what precedes the first node is about the file
  while (!info.empty()) {
    const size_t end = info.find(kNode);
    std::string node(info.substr(0, end));
    info.remove_prefix(end == info.npos ? info.size() : end + 1);
    if (std::exchange(first, false)) continue;
    if (node.starts_with("\nTag Table") || node.starts_with("\nIndirect") || node.starts_with("\nEnd Tag") ||
        node.starts_with("\nLocal Variables"))
      continue;
    bool index = false;
    for (size_t open; (open = node.find(kTagOpen)) != node.npos;) {
      const size_t close = node.find(kTagClose, open);
      if (close == node.npos) break;
      index |= std::string_view(node).substr(open + kTagOpen.size()).starts_with("index");
      node.erase(open, close + kTagClose.size() - open);
    }
    if (index) continue;
    std::string text;
    bool menu = false;
    for_each_line(node, [&](std::string_view line) {
      if (line.starts_with("File: ") && line.find("Node: ") != line.npos) return;
      if (line.starts_with("* Menu:")) menu = true;
      if (menu && (line.starts_with("* ") || line.starts_with("   "))) return;
      if (menu && !is_blank(line)) menu = false;
      if (std::any_of(std::begin("*=-."), std::end("*=-.") - 1, [&](char mark) { return is_ruler(line, mark); }))
        return;
      std::string words(line);
      for (size_t at; (at = words.find("*note ")) != words.npos || (at = words.find("*Note ")) != words.npos;) {
        words.erase(at, 1);
        if (const size_t colons = words.find("::", at); colons != words.npos) words.erase(colons, 2);
      }
      text.append(words) += '\n';
    });
    emit(std::move(text));
  }
}

}  // namespace troupe::corpus
