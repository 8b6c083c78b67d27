// fairseq's binary ids: the first two bytes give the length of the index, the rest is index and ids. Any bytes give
// lines or one kData error, and never more ids than the file has bytes.
#include <cstdint>
#include <cstdlib>
#include <span>

#include "data/fairseq/indexed_dataset.h"
#include "troupe/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace troupe;
  if (size < 2) return 0;
  const std::span<const uint8_t> rest(data + 2, size - 2);
  const size_t cut = std::min<size_t>(rest.size(), data[0] | data[1] << 8);
  try {
    if (parse_fairseq_lines(rest.first(cut), "idx", rest.subspan(cut), "bin").ids.size() > rest.size()) std::abort();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kData) std::abort();
  }
  return 0;
}
