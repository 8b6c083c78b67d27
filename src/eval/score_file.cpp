#include "eval/score_file.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "io/safetensors.h"
#include "io/writable.h"

namespace troupe {
namespace {

constexpr int64_t kPassTokens = 8192;

// Ids of a [B, S] int64 tensor as int32; `low` is the smallest that makes sense, below it -1 is stored.
std::vector<int32_t> read_ids(const SafetensorsFile& file, const TensorView& tensor, int64_t vocab_size, bool targets) {
  std::vector<int32_t> ids(static_cast<size_t>(tensor.size()));
  for (size_t i = 0; i < ids.size(); ++i) {
    int64_t id;
    std::memcpy(&id, tensor.bytes.data() + i * sizeof(id), sizeof(id));
    if (id >= vocab_size || (id < 0 && !targets))
      fail(ErrorCode::kData, "{}: {}[{}, {}]: expected an id {} {} (the model's vocab_size), got {}", file.where(),
           tensor.name, static_cast<int64_t>(i) / tensor.shape[1], static_cast<int64_t>(i) % tensor.shape[1],
           targets ? "(negative: not scored) <" : ">= 0 and <", vocab_size, id);
    ids[i] = static_cast<int32_t>(std::max<int64_t>(id, -1));
  }
  return ids;
}

}  // namespace

LossSum score_file(LanguageModel& model, const std::filesystem::path& in, const std::filesystem::path& out,
                   const CapacityRule& capacity, bool with_greedy, const ScoreProgress& progress) {
  check_writable(out);
  const SafetensorsFile file(in);
  const TensorView& src = file.at("src");
  if (src.dtype != DType::kI64 || src.shape.size() != 2 || src.size() == 0)
    fail(ErrorCode::kData, "{}: src: expected I64 [B, S] with B, S >= 1, got {}", file.where(),
         describe(src.dtype, src.shape));
  const TensorView& tgt = file.at("tgt", src.shape, DType::kI64);
  const int64_t B = src.shape[0], S = src.shape[1];
  const std::vector<int32_t> src_ids = read_ids(file, src, model.config().vocab_size, false),
                             tgt_ids = read_ids(file, tgt, model.config().vocab_size, true);

  std::vector<float> logprobs(src_ids.size());
  std::vector<int32_t> argmax(with_greedy ? src_ids.size() : 0);
  LossSum sum;
  const int64_t rows = capacity.kind == CapacityRule::kDropless ? std::max<int64_t>(1, kPassTokens / S) : B;
  for (int64_t first = 0; first < B; first += rows) {
    const int64_t last = std::min(B, first + rows), begin = first * S, end = last * S;
    Batch batch{.B = last - first, .S = S, .first_sequence = first};
    batch.src.assign(src_ids.begin() + begin, src_ids.begin() + end);
    batch.tgt.assign(tgt_ids.begin() + begin, tgt_ids.begin() + end);
    const auto part = [&](auto& all) {
      return all.empty() ? std::span(all)
                         : std::span(all).subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
    };
    sum += model.score(batch, {.capacity = capacity}, part(logprobs), part(argmax));
    if (progress) progress(last, B);
  }
  for (size_t i = 0; i < logprobs.size(); ++i) {
    if (!std::isfinite(logprobs[i]))
      fail(ErrorCode::kNonFinite, "{}: tgt[{}, {}]: expected a finite log-probability, got {}", file.where(),
           static_cast<int64_t>(i) / S, static_cast<int64_t>(i) % S, -logprobs[i]);
    logprobs[i] = logprobs[i] == 0.0f ? 0.0f : -logprobs[i];
  }
  std::vector<TensorToWrite> tensors = {{"logprobs", DType::kF32, {B, S}, logprobs.data()}};
  std::vector<uint8_t> greedy;
  for (size_t i = 0; i < argmax.size(); ++i) greedy.push_back(argmax[i] == tgt_ids[i]);
  if (with_greedy) tensors.push_back({"greedy", DType::kU8, {B, S}, greedy.data()});
  write_safetensors(out, tensors);
  return sum;
}

}  // namespace troupe
