// Expected values are what Python 3.11 gives for the same expressions.
#include "eval/tasks/python_text.h"

#include <gtest/gtest.h>

#include "eval/tasks/metrics.h"

namespace troupe {
namespace {

TEST(PythonText, StripsAndSplitsAtAllWhiteSpace) {
  const std::string space = "\u0085\u00a0\u1680\u2000\u200a\u2028\u2029\u202f\u205f\u3000 \t\n\v\f\r\x1c\x1d\x1e\x1f";
  EXPECT_EQ(python::strip(space + "x y" + space), "x y");
  EXPECT_EQ(python::rstrip(space + "x" + space), space + "x");
  EXPECT_EQ(python::strip(space), "");
  EXPECT_EQ(python::strip("\u200bx\u180e"), "\u200bx\u180e") << "zero width is no white space";
  EXPECT_EQ(python::split("a\u00a0b\u3000 \x1c" "c\u200bd"), (std::vector<std::string>{"a", "b", "c\u200bd"}));
  EXPECT_EQ(python::split(space), std::vector<std::string>());
}

TEST(PythonText, ComparesAnswersAsSquadDoes) {
  EXPECT_EQ(squad_normalized("The\u00a0Cat"), "cat");
  EXPECT_EQ(squad_normalized("the\u2013cat"), "\u2013cat");
  EXPECT_EQ(squad_normalized("\u00c9T\u00c9 a\u2003b"), "\u00e9t\u00e9 b");
  EXPECT_EQ(squad_normalized("a\u00f1 a the_x"), "a\u00f1 thex");
  EXPECT_EQ(squad_normalized("Der \u00c4pfel, an apple!"), "der \u00e4pfel apple");
  EXPECT_EQ(squad_f1("\u00c4pfel", "\u00e4pfel"), 1.0);
}

}  // namespace
}  // namespace troupe
