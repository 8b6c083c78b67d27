// Any bytes as an archive, and whatever is in it as one again: files in bounded memory, or one kData error.
#include "data/text/archive.h"

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "troupe/error.h"

namespace {

using namespace troupe;

size_t left = 0;  // bytes to unpack: a fuzzer finds bombs

void walk(ByteSource& archive, int depth) {
  for_each_member(archive, [&](const std::string& path, ByteSource& bytes) {
    if (path.empty()) std::abort();
    if (depth > 0 && path.size() % 2) return walk(bytes, depth - 1);
    char block[4096];
    for (size_t got; (got = bytes.read(block, sizeof block)) > 0; left -= got)
      if (got > left) throw Error(ErrorCode::kData, "enough");
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  left = 1 << 22;
  try {
    walk(*memory_source({reinterpret_cast<const char*>(data), size}), 2);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kData) std::abort();
  }
  return 0;
}
