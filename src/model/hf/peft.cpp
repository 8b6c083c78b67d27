#include "model/hf/peft.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "io/atomic_file.h"
#include "io/json_fields.h"
#include "io/json_file.h"
#include "io/json_text.h"
#include "io/safetensors.h"
#include "model/decoder_parameters.h"
#include "model/hf/hf_model.h"
#include "model/model_tensors.h"
#include "model/weights_sum.h"
#include "ops/linear.h"
#include "ops/transfer.h"

namespace troupe {

namespace fs = std::filesystem;
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr const char *kPeftConfig = "adapter_config.json", *kPeftTensors = "adapter_model";
constexpr const char* kBaseWeights = "base_weights";  // in the metadata of the tensors
constexpr std::string_view kBaseModel = "base_model.model.", kDotWeight = ".weight", kLoraA = ".lora_A.weight",
                           kLoraB = ".lora_B.weight";
constexpr std::string_view kGateUp = "gate_up_proj", kDown = "down_proj", kInner = ".base_layer";

// --- The linear layers of a model by their names ---

// Rows [row, row + rows) of a parameter are those of a module from `out` on.
struct ModulePiece {
  Parameter parameter;
  int64_t row = 0, rows = 0, out = 0;
};

struct Module {
  std::string name;
  int64_t out = 0, in = 0;
  std::vector<ModulePiece> pieces;
};

// A slice of a tensor of experts, as a linear layer.
std::string slice_name(const std::string& tensor, int64_t expert) { return fmt::format("{}[{}]", tensor, expert); }

class Modules {
 public:
  enum class Names { kAll, kTheirs, kOurs };  // theirs: of transformers 5

  Modules(const ModelConfig& config, const HfFamily* family, Names names) : num_experts_(config.moe.num_experts) {
    for (const Parameter& parameter : make_parameter_table(config).entries()) {
      if (parameter.shape.size() != 2 || parameter.name.starts_with("embed_")) continue;
      const bool slice = family && parameter.role == Role::kExpert && !family->experts.empty();
      const bool router = family && is_router(parameter) && !family->router.empty();
      if (slice && names != Names::kOurs) add_slice(*family, parameter);
      if (family && (names == Names::kAll || (names == Names::kTheirs && !slice && !router)))
        add_theirs(*family, config, parameter);
      if (router && names != Names::kOurs) add_router(*family, parameter);
      if (!family || names != Names::kTheirs) add_ours(parameter);
    }
    base_ = family ? family->base : "";
  }

  const std::vector<Module>& all() const { return modules_; }
  // Also without the prefix of the family's bare models.
  const Module* find(const std::string& name) const {
    for (const std::string& full : {name, base_ + name})
      if (const auto found = index_.find(full); found != index_.end()) return &modules_[found->second];
    return nullptr;
  }
  // Of a tensor MODULE.gate_up_proj or .down_proj of all experts; none if there is no such.
  std::vector<const Module*> slices(const std::string& tensor) const {
    std::vector<const Module*> found;
    for (int64_t expert = 0; expert < num_experts_; ++expert)
      if (const Module* const module = find(slice_name(tensor, expert))) found.push_back(module);
    return found;
  }

 private:
  void add_slice(const HfFamily& family, const Parameter& parameter) {
    const std::string tensor = fmt::format("{}{}.{}.{}", family.layers, parameter.layer, family.experts,
                                           parameter.name.ends_with(".fc1.weight") ? kGateUp : kDown);
    Module& module = of_name(slice_name(tensor, parameter.expert), parameter.shape[0], parameter.shape[1]);
    const int64_t rows = parameter.shape[0] / parameter.stacked;
    for (int64_t part = 0; part < parameter.stacked; ++part)
      module.pieces.push_back({parameter, part * rows, rows, part * rows});
  }
  void add_router(const HfFamily& family, const Parameter& parameter) {
    Module& module = of_name(fmt::format("{}{}.{}", family.layers, parameter.layer, family.router), parameter.shape[0],
                             parameter.shape[1]);
    if (module.pieces.empty()) module.pieces.push_back({parameter, 0, parameter.shape[0], 0});  // else it is there
  }
  Module& of_name(std::string_view name, int64_t out, int64_t in) {
    const auto [found, is_new] = index_.emplace(name, modules_.size());
    if (is_new) modules_.push_back({std::string(name), out, in, {}});
    return modules_[found->second];
  }
  void add_theirs(const HfFamily& family, const ModelConfig& config, const Parameter& parameter) {
    for (const HfPiece& piece : hf_pieces(family, config, parameter)) {
      if (piece.shape.size() != 2 || !piece.tensor.ends_with(kDotWeight)) continue;  // experts in one tensor
      const bool transposed = piece.col_stride != 1;
      const std::string_view name = std::string_view(piece.tensor).substr(0, piece.tensor.size() - kDotWeight.size());
      Module& module = of_name(name, piece.shape[transposed ? 1 : 0], piece.shape[transposed ? 0 : 1]);
      module.pieces.push_back(
          {parameter, piece.row, piece.rows, transposed ? piece.offset : piece.offset / piece.shape[1]});
    }
  }
  void add_ours(const Parameter& parameter) {
    const std::string name = parameter.name.substr(0, parameter.name.size() - kDotWeight.size());
    const int64_t rows = parameter.shape[0] / parameter.stacked;
    for (int64_t part = 0; part < parameter.stacked; ++part)
      of_name(parameter.stacked == 1 ? name : name + (part == 0 ? ".gate" : ".up"), rows, parameter.shape[1])
          .pieces.push_back({parameter, part * rows, rows, 0});
  }

  std::vector<Module> modules_;  // in the table's order
  std::unordered_map<std::string, size_t> index_;
  std::string base_;
  int64_t num_experts_;
};

// --- adapter_config.json ---

bool says_nothing(const json& value) {
  return value.is_null() || value == false || (value.is_structured() && value.empty()) || value == "";
}

// What a pattern says of a module, else `usual`. A pattern is a name, or the end of one from a dot on; PEFT takes
// regular expressions, of which those that are more than a name are refused.
double by_pattern(const json& patterns, const std::string& key, const std::string& module, double usual,
                  const std::string& where) {
  if (patterns.is_null()) return usual;
  if (!patterns.is_object())
    fail(ErrorCode::kData, "{}: {}: expected an object, got {}", where, key, json_excerpt(patterns));
  std::optional<double> found;
  for (const auto& [pattern, value] : patterns.items()) {
    std::string name = pattern;
    const bool whole = name.starts_with('^');
    if (whole) name.erase(0, 1);
    for (size_t at; (at = name.find("\\.")) != name.npos;) name.erase(at, 1);
    if (name.ends_with(kDotWeight)) name.resize(name.size() - kDotWeight.size());  // of target_parameters
    if (name.find_first_of("\\*+?[](){}|^$") != name.npos)
      fail(ErrorCode::kData, "{}: {}: expected names of modules, got {} (regular expressions are not read)", where, key,
           json_excerpt(json(pattern)));
    if (module != name && (whole || !module.ends_with("." + name))) continue;
    if (!value.is_number())
      fail(ErrorCode::kData, "{}: {}.{}: expected a number, got {}", where, key, pattern, json_excerpt(value));
    if (found && *found != value.get<double>())
      fail(ErrorCode::kData, "{}: {}: expected one value for {}, got {} and {}", where, key, module, *found,
           value.get<double>());
    found = value.get<double>();
  }
  return found.value_or(usual);
}

class AdapterConfig {
 public:
  explicit AdapterConfig(const fs::path& path) : where_(path.string()), object_(read_json_file(path)) {
    read_json_fields(object_, where_, facts_);
    if (facts_.peft_type != "LORA") refuse("peft_type", "\"LORA\"", object_["peft_type"]);
    if (facts_.r < 1 || facts_.r > 1 << 20) refuse("r", "1 to 1048576", object_["r"]);
    if (!std::isfinite(facts_.lora_alpha)) refuse("lora_alpha", "a finite number", object_["lora_alpha"]);
    if (facts_.bias != "none") refuse("bias", "\"none\"", object_["bias"]);
    for (const char* key : {"use_dora", "use_qalora", "use_bdlora", "lora_bias", "modules_to_save",
                            "trainable_token_indices", "layer_replication", "alora_invocation_tokens", "arrow_config",
                            "kasa_config", "monteclora_config"})
      if (const auto found = object_.find(key); found != object_.end() && !says_nothing(*found))
        refuse(key, "none (this decoder merges A and B of linear layers and experts alone)", *found);
    for (const std::string& name : facts_.target_parameters.value_or(std::vector<std::string>()))
      if (!targets(name, kGateUp) && !targets(name, kDown) && !name.ends_with(kDotWeight))
        refuse("target_parameters", "gate_up_proj and down_proj of experts, and MODULE.weight", json(name));
    if (const auto found = object_.find("init_lora_weights"); found != object_.end() && found->is_string())
      if (*found != "gaussian" && *found != "eva" && *found != "orthogonal" && *found != "")
        refuse("init_lora_weights", "a way that leaves the model's weights as they are", *found);
    warn_of_unknown_keys();
  }

  // The tensor of experts whose adapter has the module's name itself: the outer one, if both have one.
  std::string_view experts_tensor(bool has_inner) const {
    const auto any = [&](std::string_view tensor) {
      return std::ranges::any_of(facts_.target_parameters.value_or(std::vector<std::string>()),
                                 [&](const std::string& name) { return targets(name, tensor); });
    };
    return has_inner || !any(kGateUp) ? kDown : kGateUp;
  }

  std::string base_model() const { return facts_.base_model.value_or(""); }
  int64_t rank_of(const std::string& module) const {
    const double rank = by_pattern(facts_.rank_pattern, "rank_pattern", module, static_cast<double>(facts_.r), where_);
    if (!(rank >= 1 && rank <= 1 << 20) || rank != std::floor(rank))
      refuse("rank_pattern", "whole numbers from 1 to 1048576", facts_.rank_pattern);
    return static_cast<int64_t>(rank);
  }
  double scale_of(const std::string& module) const {
    const double alpha = by_pattern(facts_.alpha_pattern, "alpha_pattern", module, facts_.lora_alpha, where_);
    const auto rank = static_cast<double>(rank_of(module));
    return alpha / (facts_.use_rslora ? std::sqrt(rank) : rank);
  }

 private:
  static bool targets(std::string_view name, std::string_view tensor) {
    return name == tensor || name.ends_with(fmt::format(".{}", tensor));
  }

  struct Facts {
    std::string peft_type, bias = "none";
    int64_t r = 0;
    double lora_alpha = 0.0;
    bool use_rslora = false;
    json rank_pattern, alpha_pattern;
    std::optional<std::vector<std::string>> target_parameters;
    std::optional<std::string> base_model;

    template <class V>
    void fields(V& v) {
      v("peft_type", peft_type), v("r", r), v("lora_alpha", lora_alpha), v.may_lack("bias", bias);
      v.may_lack("use_rslora", use_rslora), v.may_lack("rank_pattern", rank_pattern);
      v.may_lack("alpha_pattern", alpha_pattern), v.may_lack("target_parameters", target_parameters);
      v.may_lack("base_model_name_or_path", base_model);
    }
  };
  [[noreturn]] void refuse(std::string_view key, std::string_view expected, const json& got) const {
    fail(ErrorCode::kData, "{}: {}: expected {}, got {}", where_, key, expected, json_excerpt(got));
  }
  // Those left say how it was trained, and where; which modules have an adapter their tensors tell.
  void warn_of_unknown_keys() const {
    static const std::set<std::string_view> kKnown = {"peft_type",
                                                      "r",
                                                      "lora_alpha",
                                                      "bias",
                                                      "use_rslora",
                                                      "rank_pattern",
                                                      "alpha_pattern",
                                                      "init_lora_weights",
                                                      "auto_mapping",
                                                      "base_model_name_or_path",
                                                      "revision",
                                                      "peft_version",
                                                      "task_type",
                                                      "inference_mode",
                                                      "target_modules",
                                                      "target_parameters",
                                                      "exclude_modules",
                                                      "layers_to_transform",
                                                      "layers_pattern",
                                                      "fan_in_fan_out",
                                                      "lora_dropout",
                                                      "megatron_config",
                                                      "megatron_core",
                                                      "loftq_config",
                                                      "eva_config",
                                                      "corda_config",
                                                      "lora_ga_config",
                                                      "qalora_group_size",
                                                      "ensure_weight_tying",
                                                      "velora_config",
                                                      "runtime_config"};
    for (const auto& [key, value] : object_.items())
      if (!kKnown.contains(key) && !says_nothing(value))
        log::warning("{}: {}: not a setting of LoRA that Troupe knows, ignored", where_, key);
  }

  std::string where_;
  json object_;
  Facts facts_;
};

ordered_json shortest(double value) {
  const auto whole = static_cast<int64_t>(value);
  return static_cast<double>(whole) == value ? ordered_json(whole) : ordered_json(value);
}

}  // namespace

fs::path find_adapter(const fs::path& folder) {
  for (const fs::path& candidate : {folder, folder / "adapter"})
    if (fs::exists(candidate / kPeftConfig)) return candidate;
  fail(ErrorCode::kData, "{}: expected an adapter ({} and {}.safetensors), got {}", folder.string(), kPeftConfig,
       kPeftTensors, fs::exists(folder) ? "neither" : "nothing of this name");
}

std::string adapter_config_text(const fs::path& adapter) { return read_file(adapter / kPeftConfig); }
ModelTensors open_adapter_tensors(const fs::path& adapter) { return ModelTensors(adapter, kPeftTensors); }

PeftAdapter::PeftAdapter(const fs::path& folder, const ModelConfig& config, const HfFamily* family) {
  const AdapterConfig settings(folder / kPeftConfig);
  const ModelTensors tensors = open_adapter_tensors(folder);
  base_model_ = settings.base_model(), base_weights_ = tensors.metadata(kBaseWeights);
  const Modules modules(config, family, Modules::Names::kAll);
  std::set<const Module*> seen;
  for (const TensorView* tensor : tensors.tensors()) {
    const std::string& name = tensor->name;
    const auto refuse = [&](std::string_view expected) {
      fail(ErrorCode::kData, "{}: {}: expected {}, got {}", tensors.where(), name, expected,
           describe(tensor->dtype, tensor->shape));
    };
    const bool is_a = name.ends_with(kLoraA);
    if (!name.starts_with(kBaseModel) || (!is_a && !name.ends_with(kLoraB)))
      refuse("only base_model.model.MODULE.lora_A.weight and .lora_B.weight");
    const std::string stem = name.substr(0, name.size() - kLoraA.size());
    std::string module_name = stem.substr(kBaseModel.size());
    // One linear layer, or the experts of a layer.
    std::vector<const Module*> parts;
    if (const Module* const module = modules.find(module_name)) {
      parts = {module};
    } else {
      const bool inner = module_name.ends_with(kInner);
      const bool has_inner = tensors.find(stem + std::string(kInner) + std::string(kLoraA)) != nullptr;
      if (inner) module_name.resize(module_name.size() - kInner.size());
      module_name += fmt::format(".{}", inner ? kGateUp : settings.experts_tensor(has_inner));
      parts = modules.slices(module_name);
    }
    if (parts.empty())
      refuse(fmt::format("a linear layer or experts of the model ({})", family ? family->model_type : "of no family"));
    if (!tensors.find(stem + std::string(is_a ? kLoraB : kLoraA)))
      refuse(is_a ? "lora_B beside it" : "lora_A beside it");
    if (!is_a) continue;
    const auto E = static_cast<int64_t>(parts.size());
    const int64_t rank = settings.rank_of(module_name), in = parts.front()->in, out = parts.front()->out;
    if (tensor->shape != Shape{E * rank, in})
      refuse(fmt::format("{} ({} and the module's inputs)", to_string(Shape{E * rank, in}),
                         E == 1 ? "rank" : "experts times rank"));
    std::vector<float> a(static_cast<size_t>(E * rank * in)), b(static_cast<size_t>(out * rank * E));
    tensors.read_f32(name, {E * rank, in}, a);
    tensors.read_f32(stem + std::string(kLoraB), {out, rank * E}, b);
    const double scale = settings.scale_of(module_name);
    ++num_modules_;
    for (int64_t e = 0; e < E; ++e) {
      const Module* const module = parts[static_cast<size_t>(e)];  // with its columns of B
      if (!seen.insert(module).second) refuse("one adapter of a module");
      auto factors = std::make_unique<Factors>();
      factors->rank = rank, factors->in = in;
      for (int64_t c = 0; c < in; ++c)
        for (int64_t k = 0; k < rank; ++k)
          factors->a.push_back(
              static_cast<float>(scale * static_cast<double>(a[static_cast<size_t>((e * rank + k) * in + c)])));
      for (int64_t i = 0; i < out * rank; ++i) factors->b.push_back(b[static_cast<size_t>(i * E + e)]);
      for (const ModulePiece& piece : module->pieces)
        parts_[piece.parameter.name].push_back({factors.get(), piece.row, piece.rows, piece.out});
      factors_.push_back(std::move(factors));
    }
  }
  if (factors_.empty()) fail(ErrorCode::kData, "{}: expected tensors lora_A and lora_B, got none", tensors.where());
}

void PeftAdapter::add_to(const Parameter& parameter, std::span<float> values) const {
  const auto found = parts_.find(parameter.name);
  if (found == parts_.end()) return;
  for (const Part& part : found->second) {
    const auto& [rank, in, a, b] = *part.factors;
    const LinearBank<F32> turned(1, in, rank, a.data(), nullptr);
    const Matrix<const float> b_rows(b.data() + part.out * rank, part.rows, rank);
    const Matrix<float> rows(values.data() + part.row * in, part.rows, in);
    Context of_host(host_memory());
    run_on(Device::kCpu, LinearForward<F32>{turned, b_rows, {}, {.out_real = rows, .residual = rows}}, of_host);
  }
}

int64_t write_peft_adapter(const fs::path& folder, const LoraParameters& adapters, const ParameterStore<float>& values,
                           const ModelConfig& config, const HfFamily* family, const PeftFacts& facts) {
  const bool theirs = family && !family->ours;
  if (!theirs)
    log::info(
        "adapter: its modules have Troupe's names, which PEFT does not know (the model is of no family of "
        "transformers)");
  const int64_t rank = adapters.rank;
  struct Written {
    std::string name;
    int64_t rank = 0, out = 0, in = 0;
    std::vector<float> a, b;
    int64_t experts = 0;  // whose they are; 0: a linear layer's
  };
  std::vector<Written> written;
  std::set<std::string> suffixes, parameters;  // of modules, and of tensors of experts and routers
  ordered_json ranks = ordered_json::object(), alphas = ordered_json::object();
  Buffer<float> a_room, b_room;
  std::map<std::string, Parameter> adapted;
  const Modules modules(config, family, theirs ? Modules::Names::kTheirs : Modules::Names::kOurs);
  for (const Module& module : modules.all()) {
    // The pairs A and B that lie in it, in the order of their rows.
    struct Pair {
      const LoraTarget* target;
      int64_t map;
      bool operator==(const Pair&) const = default;
    };
    std::vector<Pair> pairs;
    const auto pair_of = [&](const ModulePiece& piece) -> std::optional<Pair> {
      for (const LoraTarget& target : adapters.targets) {
        const Slot all = target.weight.slot;
        if (piece.parameter.slot.begin < all.begin || piece.parameter.slot.end > all.end) continue;
        const int64_t member = piece.parameter.slot.begin - all.begin;
        return Pair{&target, member * target.weight.stacked + piece.row / target.rows};
      }
      return std::nullopt;
    };
    for (const ModulePiece& piece : module.pieces)
      if (const auto pair = pair_of(piece); pair && std::ranges::find(pairs, *pair) == pairs.end())
        pairs.push_back(*pair);
    if (pairs.empty()) continue;
    for (const ModulePiece& piece : module.pieces) adapted.emplace(piece.parameter.name, piece.parameter);
    Written made{.name = module.name, .out = module.out, .in = module.in, .a = {}, .b = {}};
    made.rank = rank * static_cast<int64_t>(pairs.size());
    made.b.resize(static_cast<size_t>(made.out * made.rank));
    for (const Pair& pair : pairs) {
      const auto all = to_host<float>(values.at(pair.target->a), a_room);
      const auto of_map =
          all.subspan(static_cast<size_t>(pair.map * rank * made.in), static_cast<size_t>(rank * made.in));
      made.a.insert(made.a.end(), of_map.begin(), of_map.end());
    }
    for (const ModulePiece& piece : module.pieces) {
      const auto pair = pair_of(piece);
      if (!pair) continue;
      const int64_t first = (std::ranges::find(pairs, *pair) - pairs.begin()) * rank;
      const auto b = to_host<float>(values.at(pair->target->b), b_room);
      const int64_t from = pair->map * pair->target->rows + piece.row % pair->target->rows;
      for (int64_t r = 0; r < piece.rows; ++r)
        std::copy_n(b.begin() + (from + r) * rank, rank, made.b.begin() + (piece.out + r) * made.rank + first);
    }
    const bool slice = made.name.ends_with(']');
    if (slice) made.name.resize(made.name.rfind('['));
    if (const auto all = std::ranges::find(written, made.name, &Written::name); slice && all != written.end()) {
      all->a.insert(all->a.end(), made.a.begin(), made.a.end());
      all->b.insert(all->b.end(), made.b.begin(), made.b.end());
      ++all->experts;
      continue;
    }
    made.experts = slice;
    if (made.rank != rank) {
      ranks[made.name] = made.rank;
      alphas[made.name] = shortest(facts.alpha * static_cast<double>(pairs.size()));
    }
    // As PEFT matches names, from a dot on: that below the layer.
    const std::string in_layer = fmt::format(".{}.", module.pieces.front().parameter.layer);
    const size_t at = made.name.find(in_layer);
    const bool router = theirs && is_router(module.pieces.front().parameter);
    const std::string suffix = at == made.name.npos ? made.name : made.name.substr(at + in_layer.size());
    (slice || router ? parameters : suffixes).insert(router ? suffix + std::string(kDotWeight) : suffix);
    written.push_back(std::move(made));
  }
  std::vector<TensorToWrite> tensors;
  for (Written& made : written) {
    std::string stem = std::string(kBaseModel) + made.name;
    if (made.experts > 0) {
      const bool inner = stem.ends_with(kGateUp);
      stem = stem.substr(0, stem.rfind('.')) + std::string(inner ? kInner : "");
      const std::vector<float> b = std::exchange(made.b, std::vector<float>(made.b.size()));
      for (int64_t e = 0, i = 0; e < made.experts; ++e)
        for (int64_t of_expert = 0; of_expert < made.out * made.rank; ++of_expert, ++i)
          made.b[static_cast<size_t>(of_expert * made.experts + e)] = b[static_cast<size_t>(i)];
    }
    const int64_t inner_size = made.rank * std::max<int64_t>(1, made.experts);
    tensors.push_back({stem + std::string(kLoraA), DType::kF32, {inner_size, made.in}, made.a.data()});
    tensors.push_back({stem + std::string(kLoraB), DType::kF32, {made.out, inner_size}, made.b.data()});
  }
  Metadata metadata;
  if (facts.base) {
    WeightsSum sum;
    std::vector<float> weights;
    for (const auto& [name, parameter] : adapted) {
      weights.resize(static_cast<size_t>(parameter.size()));
      facts.base(parameter, weights);
      sum.add(name, weights);
    }
    metadata = {{"format", "pt"}, {kBaseWeights, sum.text()}};
  }
  write_file_atomically(folder / (std::string(kPeftTensors) + ".safetensors"),
                        [&](FileWriter& file) { write_safetensors(file, tensors, metadata); });
  const bool transposed = theirs && family->model_type == "gpt2";
  ordered_json said = {{"peft_type", "LORA"},
                       {"task_type", "CAUSAL_LM"},
                       {"base_model_name_or_path", facts.base_model},
                       {"r", rank},
                       {"lora_alpha", shortest(facts.alpha)},
                       {"lora_dropout", facts.dropout},
                       {"target_modules", suffixes},
                       {"rank_pattern", ranks},
                       {"alpha_pattern", alphas},
                       {"bias", "none"},
                       {"fan_in_fan_out", transposed},
                       {"init_lora_weights", true},
                       {"modules_to_save", nullptr},
                       {"use_rslora", false},
                       {"use_dora", false},
                       {"inference_mode", true}};
  if (!parameters.empty()) said["target_parameters"] = parameters;  // PEFT before 0.18 does not know the key
  write_json_file(folder / kPeftConfig, said);
  return static_cast<int64_t>(written.size());
}

}  // namespace troupe
