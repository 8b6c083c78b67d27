// Which settings are added on which machine, and that those of the user stay.
#include "base/placement.h"

#include "base/rank_place.h"

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

TEST(Placement, ARankHasThreadsForItsShare) {
  EXPECT_THAT(missing_settings(machine(8, 8, 1), with({}), 4, 2), ElementsAre(Pair("OMP_NUM_THREADS", "2"), kSpin));
  Machine m = machine(8, 8, 1);
  m.quota_cpus = 4.0;
  EXPECT_THAT(missing_settings(m, with({}), 4, 2), ElementsAre(Pair("OMP_NUM_THREADS", "1"), kSpin));
  // A node of its own: its threads stay on their cores.
  EXPECT_THAT(missing_settings(machine(4, 4, 2), with({}), 2, 4),
              ElementsAre(Pair("OMP_PLACES", "cores"), Pair("OMP_PROC_BIND", "spread"), kSpin));
}

TEST(RankPlace, LaunchersSayWhichRankItIs) {
  const auto rank = [](std::map<std::string, std::string> variables) {
    const LocalRank found = local_rank(with(std::move(variables)));
    return std::pair(found.rank, found.ranks);
  };
  EXPECT_EQ(rank({}), std::pair(0, 1));
  EXPECT_EQ(rank({{"OMPI_COMM_WORLD_LOCAL_RANK", "2"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "4"}}), std::pair(2, 4));
  EXPECT_EQ(rank({{"MPI_LOCALRANKID", "0"}, {"MPI_LOCALNRANKS", "2"}}), std::pair(0, 2));
  EXPECT_EQ(rank({{"SLURM_LOCALID", "1"}, {"SLURM_NTASKS_PER_NODE", "3"}}), std::pair(1, 3));
  EXPECT_EQ(rank({{"SLURM_LOCALID", "1"}}), std::pair(0, 1));
  EXPECT_EQ(rank({{"OMPI_COMM_WORLD_LOCAL_RANK", "4"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "4"}}), std::pair(0, 1));
}

TEST(RankPlace, SharesOfNodesAndCores) {
  if (!has_hwloc()) GTEST_SKIP() << "built without hwloc";
  const auto place = [](int rank, int ranks, const char* machine) { return *place_of({rank, ranks}, {}, machine); };
  constexpr const char* kTwoNodes = "pack:2 numa:1 core:4 pu:2";  // cpus 0-7 and 8-15
  EXPECT_EQ(place(0, 2, kTwoNodes).text(), "cpus 0-7 (1 of 2 NUMA nodes)");
  EXPECT_EQ(place(1, 2, kTwoNodes).text(), "cpus 8-15 (1 of 2 NUMA nodes)");
  EXPECT_EQ(place(1, 2, kTwoNodes).cores, 4);
  for (int rank = 0; rank < 4; ++rank) {  // two on a node share it
    EXPECT_EQ(place(rank, 4, kTwoNodes).cpus.front(), rank < 2 ? 0 : 8);
    EXPECT_EQ(place(rank, 4, kTwoNodes).cores, 2);
  }
  EXPECT_EQ(place(0, 1, kTwoNodes).text(), "cpus 0-15 (2 of 2 NUMA nodes)");
  EXPECT_EQ(place(20, 32, kTwoNodes).cores, 1);  // more than there are
  EXPECT_EQ(place(1, 2, "pack:4 numa:1 core:2 pu:1").text(), "cpus 4-7 (2 of 4 NUMA nodes)");
  EXPECT_EQ(place(1, 3, "numa:1 core:6 pu:1").text(), "cpus 0-5 (1 of 1 NUMA node)");
  EXPECT_EQ(place(1, 3, "numa:1 core:6 pu:1").cores, 2);
  int64_t cores = 0;
  for (int rank = 0; rank < 3; ++rank) cores += place(rank, 3, kTwoNodes).cores;
  EXPECT_EQ(cores, 8);
  EXPECT_FALSE(place_of({0, 2}, {}, "nonsense"));
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
