#include "study/study_data.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "base/log.h"
#include "base/quantity.h"
#include "data/corpus/build.h"
#include "data/shards/dataset.h"
#include "data/shards/encode_text.h"
#include "data/text/reader.h"
#include "data/tokenizer/bpe_trainer.h"
#include "io/atomic_file.h"
#include "io/checksum.h"
#include "io/json_fields.h"
#include "io/json_file.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;

void train_tokenizer(const std::vector<corpus::CorpusPart>& parts, int64_t vocab_size, const fs::path& file) {
  BpeTrainer trainer({.vocab_size = vocab_size});
  std::vector<std::string> inputs;
  for (const corpus::CorpusPart& part : parts)
    if (part.split == corpus::Split::kTrain) inputs.push_back(part.file.string());
  for_each_document(inputs, {}, [&](Document&& document) { trainer.add(document.text); });
  const Tokenizer tokenizer = trainer.finish();
  if (tokenizer.vocab_size() != vocab_size)
    fail(ErrorCode::kData, "study.vocab_size: expected text for {} tokens, got enough for {}", vocab_size,
         tokenizer.vocab_size());
  tokenizer.save(file.string());
}

// made-from.json: what finished data were made from, or that they are not finished.
struct MadeFrom {
  std::string corpus_manifest;
  std::optional<int64_t> vocab_size;
  std::optional<bool> unfinished;

  bool operator==(const MadeFrom&) const = default;
  template <class V>
  void fields(V& v) {
    v.unless_empty("corpus_manifest", corpus_manifest), v.unless_empty("vocab_size", vocab_size);
    v.unless_empty("unfinished", unfinished);
  }
};

MadeFrom source_of(const fs::path& corpus, int64_t vocab_size) {
  MadeFrom source;
  source.corpus_manifest = to_hex(xxh3_of_file(corpus / "manifest.json")), source.vocab_size = vocab_size;
  return source;
}

fs::path stamp_of(const fs::path& out) { return out / "data" / "made-from.json"; }

std::optional<MadeFrom> read_stamp(const fs::path& out) {
  const fs::path file = stamp_of(out);
  if (!fs::exists(file)) return std::nullopt;
  MadeFrom stamp;
  read_json_fields(read_json_file(file), file.string(), stamp);
  return stamp;
}

}  // namespace

bool is_prepared(const fs::path& corpus, int64_t vocab_size, const fs::path& out) {
  const std::optional<MadeFrom> stamp = read_stamp(out);
  return stamp && stamp == source_of(corpus, vocab_size);  // a plan needs no corpus
}

StudyData prepare_study_data(const fs::path& corpus, int64_t vocab_size, const fs::path& out) {
  const fs::path folder = out / "data";
  const std::vector<corpus::CorpusPart> parts = corpus::read_corpus(corpus);
  const MadeFrom made_from = source_of(corpus, vocab_size);
  const MadeFrom unfinished{.corpus_manifest = {}, .vocab_size = {}, .unfinished = true};
  const std::optional<MadeFrom> stamp = read_stamp(out);
  const bool complete = stamp == made_from;
  // Models trained on it, or files of others: neither is removed.
  if (stamp && !complete && stamp != unfinished)
    fail(ErrorCode::kUsage,
         "{}: expected data made from the corpus {} with {} tokens, got data made from another corpus or vocabulary "
         "(choose another --out, or remove it)",
         folder.string(), corpus.string(), vocab_size);
  if (!stamp && fs::exists(folder) && !fs::is_empty(folder))
    fail(ErrorCode::kUsage,
         "{}: expected the data of this study, got a folder without its made-from.json (choose another --out, or "
         "remove it)",
         folder.string());

  StudyData data{.tokenizer = folder / "tokenizer" / "tokenizer.json", .train = {}, .evaluation = {}};
  if (!complete) {
    fs::remove_all(folder);  // unfinished
    write_json_file(stamp_of(out), json_of(unfinished));
    log::info("tokenizer: learning {} tokens", vocab_size);
    train_tokenizer(parts, vocab_size, data.tokenizer);
  }
  const Tokenizer tokenizer = Tokenizer::load(data.tokenizer.string());
  for (const corpus::CorpusPart& part : parts) {
    if (part.documents == 0) {
      log::warning("{} {}: no document in it: left out", name_of_enum(part.split), part.domain);
      continue;
    }
    const fs::path dataset = folder / name_of_enum(part.split) / part.domain;
    if (!complete) {
      const EncodeStats stats = encode_text({part.file.string()}, tokenizer, dataset);
      log::info("encoded {} {}: {}, {}, {:.2f} bytes per token", name_of_enum(part.split), part.domain,
                counted(stats.documents, "document"), counted(stats.tokens, "token"),
                static_cast<double>(stats.text_bytes) / static_cast<double>(stats.tokens));
    }
    StudyDomain domain{part.domain, dataset, part.split == corpus::Split::kHeldOut};
    (part.split == corpus::Split::kTrain ? data.train : data.evaluation).push_back(std::move(domain));
  }
  for (StudyDomain& domain : data.evaluation)
    domain.in_domain = !domain.held_out && std::any_of(data.train.begin(), data.train.end(),
                                                       [&](const StudyDomain& of) { return of.name == domain.name; });
  if (!complete) write_json_file(stamp_of(out), json_of(made_from));
  return data;
}

}  // namespace troupe
