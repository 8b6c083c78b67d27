// The substitution language of task files: text with fields of a record put in.
//
//   template := (text | "{{" | "}}" | "{" expression "}")*        "{{" and "}}" are literal braces
//   expression := path ("|" filter)*
//   path := name ("." name)*            a number picks from a list; a name applied to a list picks from each element
//   filter := name ["(" argument ("," argument)* ")"]             docs/evaluation.md lists the filters
//   argument := "text with \n \" \\" | integer | path
//
// A filter on text that meets a list works on each element. A template that is one expression and nothing else keeps
// the expression's value (a list of choices, a number); any other renders to text.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace troupe {

class Template {
 public:
  // Throws kUsage "WHERE: expected ..., got ... (at character N)" for anything outside the grammar and for a filter
  // that does not exist (with the nearest name) or has another number of arguments.
  Template(std::string_view text, const std::string& where);

  // What a field may hold that is put into text. Names of things are often numbers in data, what is read is not.
  enum class Fields {
    kText,    // strings
    kFilled,  // strings that are not blank
    kName,    // strings, whole numbers in decimal, true and false
  };

  // The value over `record`, an object. Throws kData naming the field: one that is missing, or of a type that the
  // filter or the place cannot take.
  nlohmann::json value(const nlohmann::json& record) const;
  // The same as text; kData for a list and whatever else `fields` does not allow.
  std::string text(const nlohmann::json& record, Fields fields = Fields::kText) const;
  // As a list of texts; a single value counts as one.
  std::vector<std::string> texts(const nlohmann::json& record, Fields fields = Fields::kText) const;

  const std::string& source() const { return source_; }

  struct Expression;

 private:
  struct Part {
    std::string text;
    std::shared_ptr<const Expression> expression;  // null: text
  };
  std::string source_;
  std::vector<Part> parts_;
};

// A string, whole number or boolean as text (kName), or a string alone; throws kData naming `what` for what `fields`
// does not allow.
std::string field_text(const nlohmann::json& value, Template::Fields fields, std::string_view what);

bool is_blank(std::string_view text);  // nothing but blanks, tabs and line ends

}  // namespace troupe
