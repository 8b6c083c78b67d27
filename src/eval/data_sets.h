// The data sets of an evaluation as a command line names them, and what is read of them for a model.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "data/shards/model_tokenizer.h"
#include "eval/eval_text.h"
#include "troupe/config.h"

namespace troupe {

struct DataSet {
  std::string name;
  bool given = false;  // NAME=, which may come again with further files
  std::vector<std::string> paths;
};

// "NAME=PATH" or "PATH" (io/named_path.h), in the order of the arguments. Without NAME a set is called what its file is
// without extensions of text: 3.10.txt.zst is 3.10. Throws kUsage, blaming --data, for one name of two sets and for a
// file twice in one.
std::vector<DataSet> parse_data_sets(const std::vector<std::string>& arguments);

struct SetText {
  EvalText text;
  TokenizerMatch tokenizer;  // that made its ids
  int64_t skipped = 0;       // damaged documents of the data set that were passed over
};

// Reads data sets of text, token shards or fairseq's binary ids; the tokenizer is loaded when text first needs it.
class DataSetReader {
 public:
  // End-of-text is the model's, whatever `options` says.
  DataSetReader(TokenizerChoice tokenizer, EvalTextOptions options, std::filesystem::path model, ModelConfig config);

  // Throws kUsage for ids among several paths or with options.text.meta_field, otherwise as the readers do.
  std::vector<SetText> read(const DataSet& set);

 private:
  std::vector<SetText> read_text(const DataSet& set);

  const TokenizerChoice choice_;
  EvalTextOptions options_;
  const std::filesystem::path model_;
  const ModelConfig config_;
  std::optional<ModelTokenizer> tokenizer_;
};

}  // namespace troupe
