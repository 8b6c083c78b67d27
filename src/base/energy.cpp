#include "base/energy.h"

#include <fstream>
#include <limits>
#include <optional>
#include <string>

namespace troupe {
namespace {

namespace fs = std::filesystem;

std::optional<int64_t> number_in(const fs::path& file) {
  std::ifstream in(file);
  int64_t value = 0;
  if (in >> value && value >= 0) return value;
  return std::nullopt;
}

}  // namespace

EnergyMeter::EnergyMeter(const fs::path& root) {
  std::error_code none;
  for (const auto& zone : fs::directory_iterator(root / "sys/class/powercap", none)) {
    std::string name;  // "package-0": its cores and memory are zones below it, and counted in it or not at all
    std::ifstream(zone.path() / "name") >> name;
    const auto range = number_in(zone.path() / "max_energy_range_uj"), now = number_in(zone.path() / "energy_uj");
    if (name.starts_with("package") && range && now) zones_.push_back({zone.path() / "energy_uj", *range, *now});
  }
}

void EnergyMeter::update() {
  for (Zone& zone : zones_) {
    const auto now = number_in(zone.counter);
    if (!now) continue;
    const int64_t used = *now >= zone.last ? *now - zone.last : *now + zone.range - zone.last;
    joules_ += 1e-6 * static_cast<double>(used);
    zone.last = *now;
  }
}

double EnergyMeter::joules() const { return zones_.empty() ? std::numeric_limits<double>::quiet_NaN() : joules_; }

}  // namespace troupe
