// Which settings are added on which machine, and that those of the user stay.
#include "base/placement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

namespace troupe {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Pair;

Environment with(std::map<std::string, std::string> variables) {
  return [variables = std::move(variables)](const char* name) {
    const auto at = variables.find(name);
    return at == variables.end() ? nullptr : at->second.c_str();
  };
}

Machine machine(int64_t cpus, int64_t cores, int64_t nodes) {
  Machine m;
  m.allowed_cpus = m.online_cpus = cpus;
  m.allowed_cores = cores;
  m.numa_nodes = nodes;
  m.memory_bytes = int64_t{8} << 30;
  m.huge_pages = "madvise";
  return m;
}

const auto kSpin = Pair("GOMP_SPINCOUNT", "1000");

TEST(Placement, OneNodeWithoutHardwareThreadsOnlyShortensSpinning) {
  EXPECT_THAT(missing_settings(machine(4, 4, 1), with({})), ElementsAre(kSpin));
}

TEST(Placement, OneThreadPerCore) {
  EXPECT_THAT(missing_settings(machine(8, 4, 1), with({})), ElementsAre(Pair("OMP_NUM_THREADS", "4"), kSpin));
}

TEST(Placement, NoMoreThreadsThanTheControlGroupAllows) {
  Machine m = machine(8, 8, 2);
  m.quota_cpus = 2.5;
  EXPECT_THAT(missing_settings(m, with({})), ElementsAre(Pair("OMP_NUM_THREADS", "3"), kSpin));
  m.quota_cpus = 0.2;
  EXPECT_THAT(missing_settings(m, with({})), Contains(Pair("OMP_NUM_THREADS", "1")));
}

TEST(Placement, SeveralNodesPinThreads) {
  EXPECT_THAT(
      missing_settings(machine(128, 64, 2), with({})),
      ElementsAre(Pair("OMP_NUM_THREADS", "64"), Pair("OMP_PLACES", "cores"), Pair("OMP_PROC_BIND", "spread"), kSpin));
}

TEST(Placement, NeverOverridesTheUser) {
  EXPECT_THAT(missing_settings(machine(128, 64, 2), with({{"OMP_NUM_THREADS", "2"}, {"OMP_WAIT_POLICY", "active"}})),
              ElementsAre());
  EXPECT_THAT(missing_settings(machine(64, 64, 2), with({{"OMP_PROC_BIND", "false"}, {"GOMP_SPINCOUNT", "0"}})),
              ElementsAre());
}

TEST(Placement, SaysWhatItIs) {
  EXPECT_EQ(describe_placement(machine(2, 2, 1), 2, with({})),
            "2 threads on 2 cores, free to move; huge pages: madvise; 8.0 GiB of memory on 1 node");
  Machine nodes = machine(128, 64, 2);
  EXPECT_EQ(describe_placement(nodes, 64, with({{"OMP_PROC_BIND", "spread"}})),
            "64 threads on 64 cores, pinned; huge pages: madvise; 8.0 GiB of memory on 2 nodes");
  nodes.memory_interleaved = true;
  EXPECT_EQ(describe_placement(nodes, 1, with({})),
            "1 thread on 64 cores, free to move; huge pages: madvise; 8.0 GiB of memory on 2 nodes, interleaved");
}

TEST(Placement, TellsItsOwnSettingsFromTheUsers) {
  EXPECT_EQ(describe_threads(with({})), "one per allowed core");
  EXPECT_EQ(describe_threads(with({{"OMP_NUM_THREADS", "3"}})), "OMP_NUM_THREADS=3");
  EXPECT_EQ(describe_threads(with({{"OMP_NUM_THREADS", "3"}, {"TROUPE_PLACED", "GOMP_SPINCOUNT"}})),
            "OMP_NUM_THREADS=3");
  EXPECT_EQ(describe_threads(with({{"OMP_NUM_THREADS", "3"}, {"TROUPE_PLACED", "OMP_NUM_THREADS GOMP_SPINCOUNT"}})),
            "one per core, no more than the control group's quota");
}

}  // namespace
}  // namespace troupe
