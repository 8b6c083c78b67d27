// A journal of answers: any file is read, cut at an unfinished last line, or refused with one kData error.
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "eval/journal.h"
#include "troupe/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace troupe;
  const std::filesystem::path path = std::filesystem::temp_directory_path() / "troupe-fuzz-journal.jsonl";
  std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  try {
    Journal journal(path, "fuzz");
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kData) std::abort();
  }
  return 0;
}
