#include "io/pickle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "error_of.h"

namespace troupe {
namespace {

using test::error_of;
using testing::HasSubstr;
using testing::Pair;
using testing::UnorderedElementsAre;
using Kind = PickleValue::Kind;

std::span<const uint8_t> as_bytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// Opcodes with embedded zeros.
template <size_t N>
std::string bytes(const char (&text)[N]) {
  return std::string(text, N - 1);
}

Pickle load(const std::string& text) { return Pickle(as_bytes(text), "x.pkl"); }

std::string refusal(const std::string& text) {
  return error_of([&] { load(text); });
}

TEST(Pickle, ReadsScalarsOfEveryKind) {
  // (None, True, False, 5, 300, -2, 2**40, 1.5, 'ab', b'cd')
  const Pickle pickle =
      load(bytes("\x80\x02("
                 "N\x88\x89K\x05M\x2c\x01J\xfe\xff\xff\xff\x8a\x06\x00\x00\x00\x00\x00\x01"
                 "G\x3f\xf8\x00\x00\x00\x00\x00\x00X\x02\x00\x00\x00"
                 "abC\x02"
                 "cdt."));
  const PickleValue& root = pickle.root();
  ASSERT_EQ(root.kind, Kind::kTuple);
  ASSERT_EQ(root.items.size(), 10u);
  const auto item = [&](size_t i) -> const PickleValue& { return pickle.at(root.items[i]); };
  EXPECT_EQ(item(0).kind, Kind::kNone);
  EXPECT_EQ(item(1).kind, Kind::kBool);
  EXPECT_EQ(item(1).integer, 1);
  EXPECT_EQ(item(2).integer, 0);
  EXPECT_EQ(item(3).integer, 5);
  EXPECT_EQ(item(4).integer, 300);
  EXPECT_EQ(item(5).integer, -2);
  EXPECT_EQ(item(6).integer, int64_t{1} << 40);
  EXPECT_EQ(item(7).real, 1.5);
  EXPECT_EQ(item(8).text, "ab");
  EXPECT_EQ(item(9).kind, Kind::kBytes);
  EXPECT_EQ(item(9).text, "cd");
}

TEST(Pickle, NegativeLongsAreSignExtended) {
  EXPECT_EQ(load(bytes("\x80\x02\x8a\x01\xff.")).root().integer, -1);
  EXPECT_EQ(load(bytes("\x80\x02\x8a\x02\x00\x80.")).root().integer, -32768);
  EXPECT_EQ(load(bytes("\x80\x02\x8a\x00.")).root().integer, 0);
}

TEST(Pickle, FindsTheLastOfEqualKeys) {
  const Pickle pickle =
      load(bytes("\x80\x02}(X\x01\x00\x00\x00"
                 "aK\x01X\x01\x00\x00\x00"
                 "aK\x02u."));
  EXPECT_EQ(pickle.find(pickle.root(), "a")->integer, 2);
  EXPECT_EQ(pickle.find(pickle.root(), "b"), nullptr);
}

TEST(Pickle, CallsStayInert) {
  const Pickle pickle =
      load(bytes("\x80\x02"
                 "cos\nsystem\nX\x04\x00\x00\x00true\x85R."));
  EXPECT_EQ(pickle.root().kind, Kind::kObject);
  EXPECT_EQ(pickle.root().text, "os.system");
  EXPECT_THAT(pickle.inert(), UnorderedElementsAre(Pair("os.system", 1)));
}

TEST(Pickle, ReadsANamespaceAsADict) {
  // argparse.Namespace with state {'lr': 0.5}, through NEWOBJ and through copyreg._reconstructor
  const Pickle pickle =
      load(bytes("\x80\x02"
                 "cargparse\nNamespace\n)\x81}X\x02\x00\x00\x00lrK\x07sb."));
  ASSERT_NE(pickle.find(pickle.root(), "lr"), nullptr);
  EXPECT_EQ(pickle.find(pickle.root(), "lr")->integer, 7);
  EXPECT_TRUE(pickle.inert().empty());
  const Pickle old =
      load(bytes("\x80\x02"
                 "ccopy_reg\n_reconstructor\ncargparse\nNamespace\nc__builtin__\nobject\nN\x87R}X\x02"
                 "\x00\x00\x00lrK\x07sb."));
  ASSERT_NE(old.find(old.root(), "lr"), nullptr);
  EXPECT_EQ(old.find(old.root(), "lr")->integer, 7);
}

TEST(Pickle, AListMayContainItself) {
  const Pickle pickle =
      load(bytes("\x80\x02]q\x00h\x00"
                 "a."));
  ASSERT_EQ(pickle.root().items.size(), 1u);
  EXPECT_EQ(&pickle.at(pickle.root().items[0]), &pickle.root());
}

TEST(Pickle, NamesTheByteOfEveryError) {
  EXPECT_THAT(refusal(""), HasSubstr("x.pkl: byte 0: expected 1 more bytes, got 0 (truncated pickle)"));
  EXPECT_THAT(refusal(bytes("\x80\x01.")), HasSubstr("x.pkl: byte 0: expected a pickle of protocol 2 to 5, got 1"));
  EXPECT_THAT(refusal(bytes("\x80\x02I1\n.")), HasSubstr("x.pkl: byte 2: expected an opcode"));
  EXPECT_THAT(refusal(bytes("\x80\x02.")), HasSubstr("expected a value on the stack"));
  EXPECT_THAT(refusal(bytes("\x80\x02(.")), HasSubstr("expected a value on the stack"));
  EXPECT_THAT(refusal(bytes("\x80\x02t.")), HasSubstr("expected a mark"));
  EXPECT_THAT(refusal(bytes("\x80\x02h\x07.")), HasSubstr("expected a remembered value 7"));
  EXPECT_THAT(refusal(bytes("\x80\x02K\x01K\x02"
                            "a.")),
              HasSubstr("expected a list to append to, got an integer"));
  EXPECT_THAT(refusal(bytes("\x80\x02}(K\x01u.")), HasSubstr("expected pairs"));
  EXPECT_THAT(refusal(bytes("\x80\x02NQ.")), HasSubstr("expected a persistent id"));
  EXPECT_THAT(refusal(bytes("\x80\x02X\xff\xff\xff\xff"
                            "a.")),
              HasSubstr("expected 4294967295 more bytes, got 2"));
  EXPECT_THAT(refusal(bytes("\x80\x02\x8d\xff\xff\xff\xff\xff\xff\xff\xff"
                            "a.")),
              HasSubstr("more bytes, got 2"));
}

TEST(Pickle, RefusesMoreValuesThanItsLimit) {
  std::string many = bytes("\x80\x02");
  many.append((size_t{1} << 20) + 1, 'N');
  many += '.';
  EXPECT_THAT(refusal(many), HasSubstr("expected at most 1048576 values"));
}

}  // namespace
}  // namespace troupe
