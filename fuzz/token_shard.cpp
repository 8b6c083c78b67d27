// Any bytes as a token shard: opened, verified and read, or refused with a troupe::Error.
#include <cstdint>
#include <vector>

#include "data/shards/shard.h"
#include "fuzz_file.h"
#include "troupe/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const troupe::fuzz::File file(data, size);
  try {
    const troupe::TokenShard shard(file.path());
    std::vector<int32_t> ids(static_cast<size_t>(shard.tokens()));
    shard.read(0, shard.tokens(), ids.data());
    shard.verify();
  } catch (const troupe::Error&) {
  }
  return 0;
}
