#include "base/machine.h"

#include <fmt/core.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#ifdef SYS_get_mempolicy
#include <linux/mempolicy.h>
#endif

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <set>
#include <sstream>
#include <vector>

namespace troupe {
namespace fs = std::filesystem;
namespace {

std::string read_text(const fs::path& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// The value of "key : value" or "key: value"; "" if there is none.
std::string value_of(const std::string& text, const std::string& key) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const size_t colon = line.find(':');
    if (colon == line.npos || line.compare(0, key.size(), key) != 0) continue;
    if (line.find_first_not_of(" \t", key.size()) != colon) continue;
    const size_t begin = line.find_first_not_of(" \t", colon + 1);
    if (begin != line.npos) return line.substr(begin);
  }
  return {};
}

int64_t kilobytes_of(const std::string& meminfo, const std::string& key) {
  return std::atoll(value_of(meminfo, key).c_str()) * 1024;
}

// The folders of this process's group and its ancestors under the mount of a controller ("" for version 2). In a
// container the path names the host's folder and may not exist; then the mount's root is the group.
std::vector<fs::path> group_folders(const fs::path& root, const std::string& controller) {
  std::vector<fs::path> folders;
  const fs::path mount = root / "sys/fs/cgroup" / controller;
  std::istringstream lines(read_text(root / "proc/self/cgroup"));
  for (std::string line; std::getline(lines, line);) {  // "4:memory:/path", "0::/path"
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == line.npos || second == line.npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const bool mine = controller.empty() ? controllers == ",," : controllers.find("," + controller + ",") != line.npos;
    if (!mine) continue;
    for (fs::path path = line.substr(second + 1); path.has_relative_path(); path = path.parent_path())
      folders.push_back(mount / path.relative_path());
  }
  folders.push_back(mount);
  return folders;
}

template <class T>
void lower(std::optional<T>& limit, T value) {
  limit = limit ? std::min(*limit, value) : value;
}

// Pages of files, which a group gives back when it needs the memory.
int64_t file_cache(const fs::path& memory_stat) {
  int64_t sum = 0, bytes = 0;
  std::istringstream lines(read_text(memory_stat));
  for (std::string key; lines >> key >> bytes;)
    if (key == "active_file" || key == "inactive_file") sum += bytes;
  return sum;
}

// What `ulimit -v` leaves of this process's address space.
void read_process_limit(const fs::path& root, Machine& machine) {
  rlimit limit{};
  int64_t pages = 0;
  if (::getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return;
  if (!(std::istringstream(read_text(root / "proc/self/statm")) >> pages)) return;
  const int64_t left = static_cast<int64_t>(limit.rlim_cur) - pages * ::sysconf(_SC_PAGESIZE);
  lower(machine.limit_left_bytes, std::max<int64_t>(0, left));
}

void read_limits(const fs::path& root, Machine& machine) {
  constexpr int64_t kNoLimit = int64_t{1} << 60;  // version 1 writes about 2^63 for "none"
  const auto memory = [&](const fs::path& folder, const char* limit, const char* usage) {
    const int64_t bytes = std::atoll(read_text(folder / limit).c_str());  // "max" reads as 0
    if (bytes <= 0 || bytes >= kNoLimit) return;
    lower(machine.memory_limit_bytes, bytes);
    const int64_t used = std::atoll(read_text(folder / usage).c_str()) - file_cache(folder / "memory.stat");
    lower(machine.limit_left_bytes, std::max<int64_t>(0, bytes - std::max<int64_t>(0, used)));
  };
  const auto processors = [&](double quota, double period) {
    if (quota > 0 && period > 0) lower(machine.quota_cpus, quota / period);
  };
  for (const fs::path& folder : group_folders(root, "")) {
    memory(folder, "memory.max", "memory.current");
    double quota = 0, period = 0;
    if (std::istringstream(read_text(folder / "cpu.max")) >> quota >> period) processors(quota, period);
  }
  for (const fs::path& folder : group_folders(root, "memory"))
    memory(folder, "memory.limit_in_bytes", "memory.usage_in_bytes");
  for (const fs::path& folder : group_folders(root, "cpu"))
    processors(std::atof(read_text(folder / "cpu.cfs_quota_us").c_str()),
               std::atof(read_text(folder / "cpu.cfs_period_us").c_str()));
}

// "always [madvise] never" -> "madvise".
std::string chosen(const std::string& text) {
  const size_t open = text.find('['), close = text.find(']');
  return open == text.npos || close == text.npos || close < open ? "" : text.substr(open + 1, close - open - 1);
}

// Cores of the processors in `allowed`; one each where the system does not say.
int64_t count_cores(const fs::path& folder, const cpu_set_t& allowed) {
  std::set<std::pair<std::string, std::string>> cores;  // (socket, number on it)
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    const fs::path topology = folder / fmt::format("cpu{}", cpu) / "topology";
    const std::string core = read_text(topology / "core_id");
    cores.emplace(read_text(topology / "physical_package_id"), core.empty() ? fmt::format("cpu {}", cpu) : core);
  }
  return static_cast<int64_t>(cores.size());
}

int64_t count_nodes(const fs::path& folder) {
  int64_t count = 0;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    count += name.size() > 4 && name.compare(0, 4, "node") == 0 && name.find_first_not_of("0123456789", 4) == name.npos;
  }
  return count;
}

bool interleaves_memory() {
#ifdef SYS_get_mempolicy
  int policy = MPOL_DEFAULT;
  return syscall(SYS_get_mempolicy, &policy, nullptr, 0UL, nullptr, 0UL) == 0 && policy == MPOL_INTERLEAVE;
#else
  return false;
#endif
}

}  // namespace

Machine read_machine(const fs::path& root) {
  Machine machine;
  machine.cpu = value_of(read_text(root / "proc/cpuinfo"), "model name");
  machine.online_cpus = std::max<int64_t>(0, ::sysconf(_SC_NPROCESSORS_ONLN));
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0)
    for (int cpu = 0; cpu < machine.online_cpus; ++cpu) CPU_SET(cpu, &allowed);
  machine.allowed_cpus = CPU_COUNT(&allowed);
  machine.allowed_cores = count_cores(root / "sys/devices/system/cpu", allowed);
  const std::string meminfo = read_text(root / "proc/meminfo");
  machine.memory_bytes = kilobytes_of(meminfo, "MemTotal");
  machine.available_bytes = kilobytes_of(meminfo, "MemAvailable");
  read_limits(root, machine);
  read_process_limit(root, machine);
  machine.numa_nodes = count_nodes(root / "sys/devices/system/node");
  machine.memory_interleaved = interleaves_memory();
  machine.huge_pages = chosen(read_text(root / "sys/kernel/mm/transparent_hugepage/enabled"));
  return machine;
}

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 && name[0] ? name : "unknown";
}

std::string utc_time() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  char text[32];
  return {text, std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

int64_t peak_memory_bytes() {
  rusage usage{};
  return ::getrusage(RUSAGE_SELF, &usage) == 0 ? usage.ru_maxrss * int64_t{1024} : 0;
}

}  // namespace troupe
