#include "eval/tasks/template.h"

#include <charconv>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/nearest.h"
#include "eval/tasks/filters.h"
#include "io/json_text.h"

namespace troupe {

using Json = nlohmann::json;

struct Template::Expression {
  struct Path {
    std::vector<std::string> names;
    std::string text;
  };
  struct Argument {
    Json constant;  // null: a path
    Path path;
  };
  struct Step {
    const Filter* filter;
    std::vector<Argument> arguments;
  };
  Path path;
  std::vector<Step> steps;
};

namespace {

using Expression = Template::Expression;

// Reads one expression, from after "{" to after "}".
class Parser {
 public:
  Parser(std::string_view text, size_t at, const std::string& where) : text_(text), at_(at), where_(where) {}

  size_t position() const { return at_; }

  Expression expression() {
    Expression result{.path = path()};
    skip_blanks();
    while (take('|')) {
      result.steps.push_back(step());
      skip_blanks();
    }
    if (!take('}')) expected("| or }");
    return result;
  }

 private:
  [[noreturn]] void expected(std::string_view what) const {
    fail(ErrorCode::kUsage, "{}: expected {}, got {} (at character {} of \"{}\")", where_, what,
         at_ < text_.size() ? fmt::format("\"{}\"", text_.substr(at_, 12)) : "the end", at_ + 1, text_);
  }
  void skip_blanks() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
  }
  bool take(char c) {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  std::string name() {
    const size_t begin = at_;
    while (at_ < text_.size() &&
           (std::isalnum(static_cast<unsigned char>(text_[at_])) || text_[at_] == '_' || text_[at_] == '-'))
      ++at_;
    if (at_ == begin) expected("a name");
    return std::string(text_.substr(begin, at_ - begin));
  }

  Expression::Path path() {
    skip_blanks();
    Expression::Path result;
    const size_t begin = at_;
    do result.names.push_back(name());
    while (take('.'));
    result.text = text_.substr(begin, at_ - begin);
    return result;
  }

  std::string quoted() {
    std::string result;
    while (!take('"')) {
      if (at_ >= text_.size()) expected("a closing quote");
      char c = text_[at_++];
      if (c == '\\') {
        if (at_ >= text_.size()) expected("n, \" or \\ after a backslash");
        c = text_[at_++];
        if (c == 'n')
          c = '\n';
        else if (c != '"' && c != '\\')
          --at_, expected("n, \" or \\ after a backslash");
      }
      result += c;
    }
    return result;
  }

  Expression::Argument argument() {
    skip_blanks();
    if (take('"')) return {.constant = quoted(), .path = {}};
    int64_t number = 0;
    const char* begin = text_.data() + at_;
    if (at_ < text_.size() && (std::isdigit(static_cast<unsigned char>(*begin)) || *begin == '-')) {
      const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), number);
      if (error != std::errc()) expected("a whole number");
      at_ += static_cast<size_t>(end - begin);
      return {.constant = number, .path = {}};
    }
    return {.constant = nullptr, .path = path()};
  }

  Expression::Step step() {
    skip_blanks();
    const std::string wanted = name();
    const Filter* filter = find_filter(wanted);
    if (!filter) {
      std::vector<std::string> names;
      for (const Filter& known : filters()) names.emplace_back(known.name);
      fail(ErrorCode::kUsage, "{}: expected a filter, got {} (did you mean {}?)", where_, wanted,
           nearest(wanted, names));
    }
    Expression::Step result{filter, {}};
    if (take('(')) {
      do {
        result.arguments.push_back(argument());
        skip_blanks();
      } while (take(','));
      if (!take(')')) expected(", or )");
    }
    const auto count = static_cast<int>(result.arguments.size());
    if (count < filter->min_arguments || (filter->max_arguments >= 0 && count > filter->max_arguments))
      fail(ErrorCode::kUsage, "{}: {}: expected {} arguments, got {}", where_, wanted, filter->min_arguments, count);
    return result;
  }

  std::string_view text_;
  size_t at_;
  const std::string& where_;
};

// For messages: a number or boolean as it stands, otherwise the type.
std::string described(const Json& value) {
  return value.is_number() || value.is_boolean() ? json_text(value) : value.type_name();
}

Json look_up(const Json& at, const Expression::Path& path, size_t depth) {
  if (depth == path.names.size()) return at;
  const std::string& name = path.names[depth];
  if (at.is_array()) {
    size_t index = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), index);
    if (error == std::errc() && end == name.data() + name.size()) {
      if (index >= at.size())
        fail(ErrorCode::kData, "{}: expected at least {} elements, got {}", path.text, index + 1, at.size());
      return look_up(at[index], path, depth + 1);
    }
    Json list = Json::array();
    for (const Json& element : at) list.push_back(look_up(element, path, depth));
    return list;
  }
  if (!at.is_object())
    fail(ErrorCode::kData, "{}: expected an object around {}, got {}", path.text, name, described(at));
  const auto found = at.find(name);
  if (found == at.end()) {
    std::vector<std::string> names;
    for (const auto& [key, ignored] : at.items()) names.push_back(key);
    fail(ErrorCode::kData, "{}: expected this field, got a record without it (nearest: {})", path.text,
         names.empty() ? "none" : nearest(name, names));
  }
  return look_up(*found, path, depth + 1);
}

Json apply(const Filter& filter, const Json& value, FilterArguments arguments, const std::string& field) {
  if (filter.takes != Filter::kList && value.is_array()) {
    Json list = Json::array();
    for (const Json& element : value) list.push_back(apply(filter, element, arguments, field));
    return list;
  }
  if (filter.takes == Filter::kList && !value.is_array())
    fail(ErrorCode::kData, "{}: {}: expected a list, got {}", field, filter.name, described(value));
  try {
    if (filter.takes == Filter::kList) return filter.apply(value, arguments);
    const auto fields = filter.takes == Filter::kText ? Template::Fields::kText : Template::Fields::kName;
    return filter.apply(field_text(value, fields, filter.name), arguments);
  } catch (const Error& error) {
    fail(error.code(), "{}: {}", field, error.what());
  }
}

Json evaluate(const Expression& expression, const Json& record, Template::Fields fields) {
  Json value = look_up(record, expression.path, 0);
  if (fields == Template::Fields::kFilled && value.is_string() && is_blank(value.get_ref<const std::string&>()))
    fail(ErrorCode::kData, "{}: expected text, got an empty one", expression.path.text);
  for (const Expression::Step& step : expression.steps) {
    std::vector<Json> arguments;
    for (const Expression::Argument& argument : step.arguments)
      arguments.push_back(argument.constant.is_null() ? look_up(record, argument.path, 0) : argument.constant);
    value = apply(*step.filter, value, arguments, expression.path.text);
  }
  return value;
}

}  // namespace

bool is_blank(std::string_view text) { return text.find_first_not_of(" \t\r\n") == text.npos; }

std::string field_text(const Json& value, Template::Fields fields, std::string_view what) {
  if (value.is_string()) return value.get<std::string>();
  if (fields != Template::Fields::kName) fail(ErrorCode::kData, "{}: expected text, got {}", what, described(value));
  if (value.is_boolean() || value.is_number_integer()) return json_text(value);
  fail(ErrorCode::kData, "{}: expected text, a whole number, true or false, got {}", what, described(value));
}

Template::Template(std::string_view text, const std::string& where) : source_(text) {
  std::string plain;
  const auto flush = [&] {
    if (!plain.empty()) parts_.push_back({std::move(plain), nullptr});
    plain.clear();
  };
  for (size_t at = 0; at < text.size();) {
    const char c = text[at];
    if ((c == '{' || c == '}') && at + 1 < text.size() && text[at + 1] == c) {
      plain += c;
      at += 2;
    } else if (c == '{') {
      flush();
      Parser parser(source_, at + 1, where);
      parts_.push_back({{}, std::make_shared<const Expression>(parser.expression())});
      at = parser.position();
    } else if (c == '}') {
      fail(ErrorCode::kUsage, "{}: expected }}}} for a literal brace, got }} (at character {} of \"{}\")", where,
           at + 1, text);
    } else {
      plain += c;
      ++at;
    }
  }
  flush();
}

Json Template::value(const Json& record) const {
  if (parts_.size() == 1 && parts_[0].expression) return evaluate(*parts_[0].expression, record, Fields::kText);
  return text(record);
}

std::string Template::text(const Json& record, Fields fields) const {
  std::string result;
  for (const Part& part : parts_)
    result += part.expression
                  ? field_text(evaluate(*part.expression, record, fields), fields, part.expression->path.text)
                  : part.text;
  return result;
}

std::vector<std::string> Template::texts(const Json& record, Fields fields) const {
  if (parts_.size() != 1 || !parts_[0].expression) return {text(record, fields)};
  const Expression& expression = *parts_[0].expression;
  const Json all = evaluate(expression, record, fields);
  if (!all.is_array()) return {field_text(all, fields, expression.path.text)};
  std::vector<std::string> list;
  for (const Json& element : all)
    list.push_back(field_text(element, fields, fmt::format("{}[{}]", expression.path.text, list.size())));
  return list;
}

}  // namespace troupe
