#include "eval/journal.h"

#include <gtest/gtest.h>

#include <cmath>

#include "io/atomic_file.h"
#include "temporary_folder.h"

namespace troupe {
namespace {

TEST(Journal, CanBeReadWhateverWasAdded) {
  const test::TemporaryFolder folder;
  const std::filesystem::path path = folder / "journal.jsonl";
  {
    Journal journal(path, "model");
    journal.add(1, {.logprob = -0.1, .is_greedy = true});
    journal.add(2, {.logprob = NAN});
    journal.add(3, {.logprob = -INFINITY});
    EXPECT_TRUE(journal.find(2)) << "known while the evaluation goes on";
  }
  EXPECT_EQ(read_file(path), "{\"key\":\"0000000000000001\",\"logprob\":-0.1,\"greedy\":true}\n");
  const Journal again(path, "model");
  ASSERT_TRUE(again.find(1));
  EXPECT_EQ(again.find(1)->logprob, -0.1);
  EXPECT_FALSE(again.find(2));
}

}  // namespace
}  // namespace troupe
