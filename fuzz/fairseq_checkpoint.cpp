// Any bytes as a checkpoint of fairseq: its settings are a model's facts, its tensors can be looked at, or it is
// refused.
#include "io/fairseq_checkpoint.h"

#include <cstdint>
#include <cstdlib>

#include "fuzz_folder.h"
#include "model/fairseq_model.h"
#include "troupe/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace troupe;
  static const fuzz::Folder folder;
  try {
    const FairseqCheckpoint checkpoint(folder.write("model.pt", data, size));
    config_of(checkpoint);
    ignored_settings(checkpoint);
    checkpoint.notes();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kData) std::abort();
  }
  return 0;
}
