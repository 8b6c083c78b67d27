// Any bytes as a checkpoint's manifest: files in its own folder, or one kData error.
#include <cstdint>
#include <cstdlib>

#include "io/checkpoint_directory.h"
#include "troupe/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace troupe;
  try {
    const Manifest manifest = parse_manifest({reinterpret_cast<const char*>(data), size}, "manifest.json");
    for (const auto& [name, summary] : manifest.files)
      if (name.find('/') != name.npos) std::abort();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kData) std::abort();
  }
  return 0;
}
