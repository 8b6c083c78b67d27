// Any bytes as a file of one of the released sets, in any of the forms that are read: documents, or a troupe::Error.
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <string>

#include "data/corpus/released/sets.h"
#include "fuzz_folder.h"
#include "troupe/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace troupe;
  static const fuzz::Folder folder;
  static const char* const kNames[] = {"a.txt", "a.jsonl", "a.xml",    "a.warc",
                                       "a.tar", "a.xz",    "a.txt.gz", "a.json.zst"};
  if (size < 2) return 0;
  const auto& sets = corpus::released_sets();
  const std::string name = kNames[data[1] % std::size(kNames)];
  const auto file = folder.write(name, data + 2, size - 2);
  try {
    corpus::read_released_file(sets[data[0] % sets.size()], file, [](const std::string&, const std::string&) {});
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kData) std::abort();
  }
  return 0;
}
