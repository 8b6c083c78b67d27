// troupe inspect PATH: what a model, checkpoint, tensor file or token shard holds.
#include <CLI/CLI.hpp>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"
#include "base/quantity.h"
#include "cli/command.h"
#include "cli/output.h"
#include "data/shards/dataset.h"
#include "data/shards/shard.h"
#include "io/checkpoint_directory.h"
#include "io/fairseq_checkpoint.h"
#include "io/gguf.h"
#include "io/json_config.h"
#include "io/json_file.h"
#include "io/json_text.h"
#include "io/path_kind.h"
#include "io/safetensors.h"
#include "io/tensor_stats.h"
#include "model/decoder_parameters.h"
#include "model/fairseq_model.h"
#include "model/hf/hf_model.h"
#include "model/model_directory.h"
#include "model/torch_tensors.h"
#include "tensor/buffer.h"

namespace troupe::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

struct InspectFlags {
  std::string path;
  bool stats = false, all = false, json = false;
};

// One tensor of whatever kind of file; `read` gives its values as float32.
struct Entry {
  std::string name;
  std::string_view dtype;
  bool floating;  // `read` can be asked
  Shape shape;
  std::function<void(std::span<float>)> read;
};

struct Subject {
  std::string kind;  // "troupe model", ...
  fs::path path;
  std::vector<Entry> entries;
  std::optional<ModelConfig> config;
  Json facts = Json::object();  // printed as they are
};

Entry entry_of(const std::string& name, DType dtype, const Shape& shape, std::function<void(std::span<float>)> read) {
  return {name, name_of(dtype), dtype <= DType::kBf16, shape, std::move(read)};
}

Subject open_model(const fs::path& folder) {
  Subject subject{.kind = is_hf_model(folder) ? "Hugging Face model" : "troupe model",
                  .path = folder,
                  .config = read_model_config(folder)};
  open_parameters(folder, make_parameter_table(*subject.config));  // checks the tensors
  const auto tensors = std::make_shared<ModelTensors>(folder);
  for (const TensorView* tensor : tensors->tensors())
    subject.entries.push_back(
        entry_of(tensor->name, tensor->dtype, tensor->shape,
                 [tensors, tensor](std::span<float> out) { convert_to_f32(*tensor, out, tensors->where()); }));
  return subject;
}

Subject open_checkpoint(const Checkpoint& checkpoint) {
  if (const std::string problem = problem_of(checkpoint); !problem.empty()) fail(ErrorCode::kData, "{}", problem);
  Subject subject = fs::exists(checkpoint.folder / "config.json") ? open_model(checkpoint.folder)
                                                                  : Subject{.path = checkpoint.folder};
  subject.kind = "troupe checkpoint";
  subject.facts["step"] = checkpoint.step;
  Json& files = subject.facts["files"] = Json::object();
  const fs::path manifest = checkpoint.folder / "manifest.json";
  for (const auto& [name, summary] : parse_manifest(read_file(manifest), manifest.string()).files)
    files[name] = summary.bytes;
  return subject;
}

Subject open_safetensors(const fs::path& path) {
  const auto file = std::make_shared<SafetensorsFile>(path);
  Subject subject{.kind = "safetensors", .path = path};
  if (!file->metadata().empty()) subject.facts["metadata"] = file->metadata();
  for (const TensorView& tensor : file->tensors())
    subject.entries.push_back(entry_of(tensor.name, tensor.dtype, tensor.shape, [file, &tensor](std::span<float> out) {
      convert_to_f32(tensor, out, file->where());
    }));
  return subject;
}

Subject open_torch(const fs::path& path) {
  const auto file = std::make_shared<TorchTensors>(path);
  Subject subject{.kind = "PyTorch tensors", .path = path};
  for (const TensorView& tensor : file->tensors())
    subject.entries.push_back(
        entry_of(tensor.name, tensor.dtype, tensor.shape,
                 [file, &tensor, path](std::span<float> out) { convert_to_f32(tensor, out, path.string()); }));
  return subject;
}

// Of lists how long they are.
Json metadata_json(const GgufMetadata& metadata) {
  Json object = Json::object();
  for (const auto& [key, value] : metadata)
    object[key] = std::visit(
        [](const auto& held) -> Json {
          if constexpr (std::is_same_v<std::decay_t<decltype(held)>, std::vector<std::string>>)
            return counted(static_cast<int64_t>(held.size()), "string");
          else if constexpr (std::is_same_v<std::decay_t<decltype(held)>, std::vector<double>>)
            return counted(static_cast<int64_t>(held.size()), "number");
          else
            return held;
        },
        value.value);
  return object;
}

Subject open_gguf(const fs::path& path) {
  const auto file = std::make_shared<GgufFile>(path);
  Subject subject{.kind = "GGUF", .path = path};
  subject.facts["metadata"] = metadata_json(file->metadata());
  for (const GgufTensor& tensor : file->tensors())
    subject.entries.push_back({tensor.name, ggml_format(tensor.type).name, true, tensor.shape,
                               [file, &tensor](std::span<float> out) { dequantize(tensor.type, tensor.bytes, out); }});
  return subject;
}

Subject open_fairseq(const fs::path& path) {
  const auto checkpoint = std::make_shared<FairseqCheckpoint>(path);
  Subject subject{.kind = "fairseq checkpoint", .path = path, .config = config_of(*checkpoint)};
  if (checkpoint->is_sharded()) subject.facts["rank_files"] = checkpoint->num_ranks();
  if (!checkpoint->notes().empty()) subject.facts["not_read"] = checkpoint->notes();
  for (const TorchTensor& tensor : checkpoint->tensors())
    subject.entries.push_back(
        entry_of(tensor.name, tensor.dtype, tensor.shape,
                 [checkpoint, &tensor](std::span<float> out) { checkpoint->read_f32(tensor, out); }));
  return subject;
}

// Facts that a shard and a folder of shards have in common.
template <class Tokens>
Subject open_tokens(const Tokens& tokens, const char* kind, const fs::path& path) {
  Subject subject{.kind = kind, .path = path};
  subject.facts = {{"documents", tokens.documents()},
                   {"tokens", tokens.tokens()},
                   {"text_bytes", tokens.text_bytes()},
                   {"vocab_size", tokens.vocabulary().size},
                   {"end_of_text", tokens.vocabulary().end_of_text}};
  return subject;
}

Subject open_dataset(const fs::path& path) {
  const TokenDataset dataset(path);
  Subject subject = open_tokens(dataset, "token shards", path);
  subject.facts["shards"] = dataset.shards().size();
  subject.facts["xxh3"] = dataset.checksum();
  return subject;
}

Subject open_checkpoint(const fs::path& folder) {
  const fs::path manifest = folder / "manifest.json";
  return open_checkpoint({folder, parse_manifest(read_file(manifest), manifest.string()).step});
}

Subject open(const fs::path& path) {
  switch (kind_of_path(path)) {
    case PathKind::kCheckpoint:
      return open_checkpoint(path);
    case PathKind::kFairseq:
      return open_fairseq(path);
    case PathKind::kModel:
      return open_model(path);
    case PathKind::kTokens:
      return open_dataset(path);
    case PathKind::kTokenShard:
      return open_tokens(TokenShard(path), "token shard", path);
    case PathKind::kSafetensors:
      return open_safetensors(path);
    case PathKind::kGguf:
      return open_gguf(path);
    case PathKind::kFolder:
      return open_checkpoint(find_model(path));
    case PathKind::kFile:
      if (path.extension() == ".bin") return open_torch(path);
      fail(ErrorCode::kData, "{}: expected a folder, .safetensors, .gguf, .bin, .pt or .tok, got another kind of file",
           path.string());
    case PathKind::kNothing:
      break;
  }
  fail(ErrorCode::kData, "{}: expected a model, checkpoint, tensor file or token shard, got nothing of this name",
       path.string());
}

// The name with the expert's number replaced, so that the experts of a layer are one row.
std::string without_expert(const std::string& name) {
  constexpr std::string_view kExperts = ".experts.";
  const size_t at = name.find(kExperts);
  if (at == name.npos) return name;
  const size_t begin = at + kExperts.size(), end = name.find('.', begin);
  return end == name.npos ? name : name.substr(0, begin) + "*" + name.substr(end);
}

TensorStats stats_of_entry(const Entry& entry, Buffer<float>& room) {
  const int64_t size = num_elements(entry.shape);
  room.reserve(size);
  const std::span<float> values = room.span().first(static_cast<size_t>(size));
  entry.read(values);
  return stats_of(values);
}

// The feed-forward network in words: "silu, gated".
std::string ffn_text(const ModelConfig& config) {
  const bool gelu = config.activation == FfnActivation::kGelu;
  return fmt::format("{}{}", gelu ? fmt::format("{} gelu", name_of_enum(config.gelu)) : name_of_enum(config.activation),
                     config.ffn_gated ? ", gated" : "");
}

void print_config(const ModelConfig& config) {
  print("{}, width {}, {}, FFN {}, vocabulary {}, context {}, {} positions, {}\n", counted(config.num_layers, "layer"),
        config.d_model, counted(config.num_heads, "head"), config.d_ff, grouped(config.vocab_size), config.context,
        name_of_enum(config.positions), ffn_text(config));
  if (config.moe.num_experts > 0)
    print("{} of {} (FFN {}), top-{}, {} capacity\n", counted(config.num_moe_layers(), "MoE layer"),
          counted(config.moe.num_experts, "expert"), config.expert_d_ff(), config.moe.top_k,
          name_of_enum(config.moe.capacity));
}

void print_text(const Subject& subject, const InspectFlags& flags, int64_t params) {
  print("{}: {}\n", subject.path.string(), subject.kind);
  if (subject.config) {
    print_config(*subject.config);
    print("{} parameters, {} active per token\n", grouped(make_parameter_table(*subject.config).num_parameters()),
          grouped(num_active_parameters(*subject.config)));
  } else if (!subject.entries.empty()) {
    print("{} tensors, {} elements\n", grouped(static_cast<long long>(subject.entries.size())), grouped(params));
  }
  for (const auto& [key, value] : subject.facts.items()) {
    if (!value.is_structured()) print("{}: {}\n", key, value.is_string() ? value.get<std::string>() : json_text(value));
    if (value.is_object())
      for (const auto& [name, inner] : value.items())
        print("{}: {}: {}\n", key, name, inner.is_string() ? inner.get<std::string>() : json_text(inner));
    if (value.is_array())
      for (const auto& inner : value) print("{}: {}\n", key, inner.get<std::string>());
  }
  if (subject.entries.empty()) return;

  std::vector<std::vector<std::string>> rows = {{"tensor", "dtype", "shape", "elements"}};
  if (flags.stats) rows[0].insert(rows[0].end(), {"mean", "std", "min", "max", "not finite"});
  const bool group = !flags.all && !flags.stats;
  std::map<std::string, std::pair<size_t, int64_t>> row_of;  // of each group: its row and how many tensors it has
  Buffer<float> room;
  for (const Entry& entry : subject.entries) {
    const std::string name = group ? without_expert(entry.name) : entry.name;
    if (const auto found = row_of.find(name); found != row_of.end()) {
      ++found->second.second;
      continue;
    }
    row_of[name] = {rows.size(), 1};
    rows.push_back({name, std::string(entry.dtype), to_string(entry.shape), grouped(num_elements(entry.shape))});
    if (!flags.stats || !entry.floating) continue;
    const TensorStats stats = stats_of_entry(entry, room);
    for (const double value : {stats.mean, stats.std, stats.min, stats.max})
      rows.back().push_back(fmt::format("{:.4g}", value));
    rows.back().push_back(fmt::format("{}", stats.non_finite));
  }
  for (const auto& [name, place] : row_of)
    if (place.second > 1) {
      rows[place.first][3] += fmt::format(" x {}", place.second);
    }
  print("\n");
  std::fflush(stdout);
  print_table(rows);
}

void print_lines(const Subject& subject, const InspectFlags& flags, int64_t params) {
  Json head = {{"schema", "troupe.inspect/1"},
               {"path", subject.path.string()},
               {"kind", subject.kind},
               {"tensors", subject.entries.size()},
               {"elements", params}};
  if (subject.config) {
    head["params"] = make_parameter_table(*subject.config).num_parameters();
    head["params_active"] = num_active_parameters(*subject.config);
    head["config"] = to_json(fields_of(*subject.config));
  }
  head.update(subject.facts);
  print_json(head);
  Buffer<float> room;
  for (const Entry& entry : subject.entries) {
    Json line = {
        {"schema", "troupe.inspect.tensor/1"}, {"name", entry.name}, {"dtype", entry.dtype}, {"shape", entry.shape}};
    if (flags.stats && entry.floating) {
      const TensorStats stats = stats_of_entry(entry, room);
      line.update({{"mean", stats.mean},
                   {"std", stats.std},
                   {"min", stats.min},
                   {"max", stats.max},
                   {"non_finite", stats.non_finite}});
    }
    print_json(line);
  }
}

void run(const InspectFlags& flags) {
  const Subject subject = open(flags.path);
  int64_t params = 0;
  for (const Entry& entry : subject.entries) params += num_elements(entry.shape);
  flags.json ? print_lines(subject, flags, params) : print_text(subject, flags, params);
}

}  // namespace

void add_inspect(CLI::App& app) {
  auto* const command = app.add_subcommand("inspect", "What a model, checkpoint, tensor file or token shards hold");
  const auto flags = std::make_shared<InspectFlags>();
  command
      ->add_option("path", flags->path,
                   "A model directory, run or checkpoint; a folder that encode wrote; a .safetensors, .gguf, "
                   ".bin (PyTorch's), .pt or .tok file; a fairseq prefix")
      ->required()
      ->type_name("PATH");
  command->add_flag("--stats", flags->stats, "Read every value: mean, deviation, smallest, largest, not finite");
  command->add_flag("--all", flags->all, "One row for every expert instead of one for all of a layer");
  command->add_flag("--json", flags->json, "One JSON object for the whole and one for each tensor");
  command->callback([flags] { run(*flags); });
}

}  // namespace troupe::cli
