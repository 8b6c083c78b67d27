// Any bytes as each of the JSON files that Troupe itself writes and reads back: read, or refused with a troupe::Error.
#include <cstdint>
#include <cstdlib>

#include "data/corpus/manifest.h"
#include "data/shards/dataset.h"
#include "fuzz_folder.h"
#include "io/checkpoint_directory.h"
#include "model/model_directory.h"
#include "model/model_tensors.h"
#include "study/grid/run_record.h"
#include "study/grid/speeds.h"
#include "study/metrics_export.h"
#include "train/checkpoint.h"
#include "train/run_history.h"
#include "troupe/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace troupe;
  static const fuzz::Folder folder;
  if (size == 0) return 0;
  const auto write = [&](const char* name) { return folder.write(name, data + 1, size - 1); };
  const auto& path = folder.path();
  try {
    switch (data[0] % 9) {
      case 0:
        write("index.json");
        TokenDataset{path};
        break;
      case 1:
        write(corpus::kManifestName);
        corpus::read_manifest(path);
        break;
      case 2:
        write("model.safetensors.index.json");
        for (const auto& file : tensor_files(path).files)
          if (file.parent_path() != path) std::abort();
        break;
      case 3:
        write(kTrainStateFile);
        load_train_state(Checkpoint{path, 1});
        break;
      case 4:
        write(RunRecord::kFile);
        read_record(path);
        break;
      case 5:
        read_speeds(write("speeds.json"));
        break;
      case 6: {
        write("history.jsonl");
        const RunHistory history(path);
        history.computed_by(), history.last_checkpoint(), history.end();
        break;
      }
      case 7: {
        const auto scalars = read_scalars(write("metrics.jsonl"));
        to_csv(scalars), to_events(scalars);
        break;
      }
      case 8:
        write("config.json");
        read_model_config(path);
        break;
    }
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kData) std::abort();
  }
  return 0;
}
