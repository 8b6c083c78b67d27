// Any bytes as StereoSet's or CrowS-Pairs' file: items whose fields are all texts, or refused with a troupe::Error.
#include <cstdint>
#include <cstdlib>

#include "eval/bias/bias.h"
#include "fuzz_folder.h"
#include "troupe/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace troupe;
  static const fuzz::Folder folder;
  std::filesystem::create_directories(folder.path() / "stereoset");
  std::filesystem::create_directories(folder.path() / "crows_pairs");
  const auto check = [](const auto& load) {
    try {
      load();
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kData) std::abort();
    }
  };
  folder.write("stereoset/dev.json", data, size);
  folder.write("crows_pairs/crows_pairs_anonymized.csv", data, size);
  check([] {
    const StereoSet set = load_stereoset(folder.path());
    if (set.intrasentence.empty() && set.intersentence.empty()) std::abort();
  });
  check([] {
    if (load_crows_pairs(folder.path()).pairs.empty()) std::abort();
  });
  return 0;
}
