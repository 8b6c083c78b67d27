// What the machine's processors took, where Linux reports it (RAPL, /sys/class/powercap): everything that ran is in it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace troupe {

class EnergyMeter {
 public:
  // From now on. Reads below `root` (for tests).
  explicit EnergyMeter(const std::filesystem::path& root = "/");

  // Counters go round after some minutes to hours of full load: this has to be called more often.
  void update();
  double joules() const;  // up to the last update(); NaN where nothing is reported

 private:
  struct Zone {  // a processor package
    std::filesystem::path counter;
    int64_t range = 0, last = 0;  // microjoules
  };
  std::vector<Zone> zones_;
  double joules_ = 0.0;
};

}  // namespace troupe
