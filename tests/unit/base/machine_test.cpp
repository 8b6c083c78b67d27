#include "base/machine.h"

#include <gtest/gtest.h>

#include <fstream>

#include "temporary_folder.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;

// A folder that looks like / as far as read_machine() looks.
class FakeRoot : public ::testing::Test {
 protected:
  FakeRoot() : root_(folder_.path()) {
    write("proc/cpuinfo", "processor\t: 0\nmodel\t\t: 17\nmodel name\t: Some CPU @ 2.6 GHz\n");
    write("proc/meminfo", "MemTotal:       1000 kB\nMemFree:         10 kB\nMemAvailable:   500 kB\n");
    write("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
    for (const char* name : {"node0/x", "node1/x", "nodes/x", "has_cpu"})
      write(std::string("sys/devices/system/node/") + name, "");
  }
  void write(const fs::path& path, const std::string& text) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  test::TemporaryFolder folder_;
  fs::path root_;
};

TEST_F(FakeRoot, ReadsProcessorMemoryPagesAndNodes) {
  const Machine machine = read_machine(root_);
  EXPECT_EQ(machine.cpu, "Some CPU @ 2.6 GHz");
  EXPECT_EQ(machine.memory_bytes, 1024000);
  EXPECT_EQ(machine.available_bytes, 512000);
  EXPECT_EQ(machine.usable_bytes(), 1024000);
  EXPECT_FALSE(machine.memory_limit_bytes);
  EXPECT_FALSE(machine.quota_cpus);
  EXPECT_EQ(machine.numa_nodes, 2);
  EXPECT_EQ(machine.huge_pages, "madvise");
  EXPECT_GE(machine.allowed_cpus, 1);
  EXPECT_EQ(machine.allowed_cores, machine.allowed_cpus);  // nothing known of cores
}

TEST_F(FakeRoot, CountsCoresNotHardwareThreads) {
  for (int cpu = 0; cpu < read_machine(root_).online_cpus; ++cpu) {  // every allowed processor is a thread of core 7 on socket 0
    const std::string topology = "sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
    write(topology + "core_id", "7\n");
    write(topology + "physical_package_id", "0\n");
  }
  EXPECT_EQ(read_machine(root_).allowed_cores, 1);
}

TEST_F(FakeRoot, LimitsOfGroupsLeaveWhatIsNotUsedOrIsFileCache) {
  EXPECT_EQ(read_machine(root_).free_bytes(), 512000);
  write("proc/self/cgroup", "0::/a/b\n");
  write("sys/fs/cgroup/a/b/memory.max", "max\n");
  write("sys/fs/cgroup/a/b/memory.current", "90000\n");
  write("sys/fs/cgroup/a/memory.max", "100000\n");
  write("sys/fs/cgroup/a/memory.current", "95000\n");
  write("sys/fs/cgroup/a/memory.stat", "anon 60000\nfile 35000\ninactive_file 20000\nactive_file 10000\n");
  EXPECT_EQ(read_machine(root_).free_bytes(), 35000);
  write("sys/fs/cgroup/a/memory.current", "200000\n");  // above it for a moment
  EXPECT_EQ(read_machine(root_).free_bytes(), 0);
}

TEST_F(FakeRoot, TakesTheTightestLimitOfVersionTwo) {
  write("proc/self/cgroup", "0::/a/b\n");
  write("sys/fs/cgroup/a/b/memory.max", "4096\n");
  write("sys/fs/cgroup/a/memory.max", "8192\n");
  write("sys/fs/cgroup/a/b/cpu.max", "150000 100000\n");
  write("sys/fs/cgroup/a/cpu.max", "max 100000\n");
  const Machine machine = read_machine(root_);
  EXPECT_EQ(machine.memory_limit_bytes, 4096);
  EXPECT_EQ(machine.usable_bytes(), 4096);
  EXPECT_EQ(machine.quota_cpus, 1.5);
}

TEST_F(FakeRoot, ReadsVersionOneAlsoWhereTheGroupsPathIsTheHosts) {
  write("proc/self/cgroup", "4:memory:/host/only\n1:cpu,cpuacct:/\n");
  write("sys/fs/cgroup/memory/memory.limit_in_bytes", "8192\n");
  write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000\n");
  write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  Machine machine = read_machine(root_);
  EXPECT_EQ(machine.memory_limit_bytes, 8192);
  EXPECT_EQ(machine.quota_cpus, 0.5);
  write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
  machine = read_machine(root_);
  EXPECT_FALSE(machine.memory_limit_bytes);
  EXPECT_FALSE(machine.quota_cpus);
}

TEST(Machine, LeavesUnknownsEmpty) {
  const Machine machine = read_machine("/nonexistent");
  EXPECT_EQ(machine.cpu, "");
  EXPECT_EQ(machine.memory_bytes, 0);
  EXPECT_EQ(machine.numa_nodes, 0);
}

}  // namespace
}  // namespace troupe
