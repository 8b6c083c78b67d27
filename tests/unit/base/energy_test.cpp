#include "base/energy.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "temporary_folder.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;

class FakePowercap : public ::testing::Test {
 protected:
  void zone(const std::string& folder, const std::string& name, int64_t now) {
    const fs::path at = folder_.path() / "sys/class/powercap" / folder;
    fs::create_directories(at);
    std::ofstream(at / "name") << name << "\n";
    std::ofstream(at / "max_energy_range_uj") << 10'000'000 << "\n";
    std::ofstream(at / "energy_uj") << now << "\n";
  }
  test::TemporaryFolder folder_;
};

TEST_F(FakePowercap, AddsUpPackagesAndGoesRoundWithThem) {
  zone("intel-rapl:0", "package-0", 9'000'000), zone("intel-rapl:1", "package-1", 1'000'000);
  zone("intel-rapl:0:0", "core", 5'000'000);  // of package-0
  EnergyMeter meter(folder_.path());
  EXPECT_EQ(meter.joules(), 0.0);
  zone("intel-rapl:0", "package-0", 2'000'000), zone("intel-rapl:1", "package-1", 1'500'000);
  zone("intel-rapl:0:0", "core", 9'000'000);
  meter.update();
  EXPECT_DOUBLE_EQ(meter.joules(), 3.5);
}

TEST_F(FakePowercap, KnowsNothingWhereNothingIsReported) {
  EXPECT_TRUE(std::isnan(EnergyMeter(folder_.path()).joules()));
  zone("intel-rapl", "package", 0);
  fs::remove(folder_.path() / "sys/class/powercap/intel-rapl/energy_uj");  // readable by root alone, say
  EXPECT_TRUE(std::isnan(EnergyMeter(folder_.path()).joules()));
}

}  // namespace
}  // namespace troupe
