#include "study/grid/grid.h"

#include <fmt/core.h>
#include <fnmatch.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "base/error.h"
#include "data/tokenizer/tokenizer.h"
#include "io/folder_name.h"
#include "io/named_path.h"
#include "io/toml_config.h"
#include "model/decoder_parameters.h"
#include "model/flops.h"
#include "study/memory.h"

namespace troupe {
namespace {

struct Size {
  int64_t layers = 0, width = 0;
};

Size parse_size(const std::string& text, const std::string& where) {
  Size size;
  const char *const begin = text.data(), *const end = begin + text.size();
  const auto layers = std::from_chars(begin, end, size.layers);
  if (layers.ec == std::errc() && layers.ptr != end && *layers.ptr == 'x') {
    const auto width = std::from_chars(layers.ptr + 1, end, size.width);
    if (width.ec == std::errc() && width.ptr == end && size.layers >= 1 && size.layers <= 4096 && size.width >= 1 &&
        size.width <= 1 << 20 && text == fmt::format("{}x{}", size.layers, size.width))
      return size;
  }
  fail(ErrorCode::kUsage, "{}: study.grid.sizes: expected LAYERSxWIDTH, such as 4x128, got \"{}\"", where, text);
}

// `value` keeps its ratio to the width.
void scale(int64_t& value, int64_t width, int64_t old_width, const char* field, const GridModel& model) {
  if (value * width % old_width != 0 || value * width / old_width < 1)
    fail(
        ErrorCode::kUsage,
        "{}: model.{}: expected a whole number at width {} ({} at width {} times {}/{}), got {:.2f} (study.grid.sizes)",
        model.path, field, width, value, old_width, width, old_width,
        static_cast<double>(value * width) / static_cast<double>(old_width));
  value = value * width / old_width;
}

GridModel at_size(const GridFamily& family, const std::string& name, const Size& size, const StudyConfig& study) {
  GridModel result{.family = family.name, .size = name, .path = family.path, .config = family.config};
  ModelConfig& model = result.config.model;
  const int64_t old_width = model.d_model;
  scale(model.num_heads, size.width, old_width, "num_heads", result);
  if (model.kv_heads > 0) scale(model.kv_heads, size.width, old_width, "kv_heads", result);
  scale(model.d_ff, size.width, old_width, "d_ff", result);
  if (model.moe.expert_d_ff > 0) scale(model.moe.expert_d_ff, size.width, old_width, "moe.expert_d_ff", result);
  model.num_layers = size.layers, model.d_model = size.width;
  model.vocab_size = study.vocab_size;
  if (model.moe.num_experts > 0 && model.num_moe_layers() == 0)
    fail(ErrorCode::kUsage, "{}: model.moe.every: expected at most the {} layers of size {}, got {}", family.path,
         size.layers, name, model.moe.every);
  check_rules(result.config, family.path + " at size " + name);
  return result;
}

template <class T>
void require_once(const std::vector<T>& values, const std::string& where, const char* key) {
  if (values.empty()) fail(ErrorCode::kUsage, "{}: study.grid.{}: expected at least one, got none", where, key);
  std::set<T> seen;
  for (const T& value : values)
    if (!seen.insert(value).second)
      fail(ErrorCode::kUsage, "{}: study.grid.{}: expected each once, got {} twice", where, key, value);
}

bool matches(const std::string& pattern, const std::string& point) {
  return ::fnmatch(pattern.c_str(), point.c_str(), FNM_PATHNAME) == 0;
}

// Whether any pattern names the point; counts what each named.
bool named_by(const std::vector<std::string>& patterns, const std::string& point, std::vector<int64_t>& counts) {
  counts.resize(patterns.size());
  bool named = false;
  for (size_t i = 0; i < patterns.size(); ++i)
    if (matches(patterns[i], point)) ++counts[i], named = true;
  return named;
}

void require_use(const std::vector<std::string>& patterns, const std::vector<int64_t>& counts, const std::string& where,
                 const char* key) {
  for (size_t i = 0; i < patterns.size(); ++i)
    if (i >= counts.size() || counts[i] == 0)
      fail(ErrorCode::kUsage,
           "{}: study.grid.{}: expected patterns of points FAMILY/SIZE/TOKENS (TOKENS as digits), got {}, which names "
           "none",
           where, key, patterns[i]);
}

// What has to be the same for all.
void require_alike(const std::vector<GridModel>& models, const std::string& where) {
  for (const GridModel& model : models) {
    const GridModel& first = models.front();
    const auto alike = [&](const char* what, int64_t own, int64_t expected) {
      if (own != expected)
        fail(ErrorCode::kUsage, "{}: study.grid.families: expected families with one {}, got {} ({}) and {} ({})",
             where, what, expected, first.path, own, model.path);
    };
    alike("model.context", model.config.model.context, first.config.model.context);
    alike("train.batch_sequences", model.config.train.batch_sequences, first.config.train.batch_sequences);
  }
}

std::vector<GridFamily> read_families(const GridConfig& grid, const std::string& where) {
  std::vector<GridFamily> families;
  std::vector<std::string> names;
  for (const std::string& text : grid.families) {
    const std::string place = where + ": study.grid.families";
    const NamedPath entry = parse_named_path(text, place);
    check_folder_name(entry.name, ErrorCode::kUsage, place);
    names.push_back(entry.name);
    families.push_back({.name = entry.name, .path = entry.path, .config = load_run_config(entry.path)});
  }
  require_once(names, where, "families");
  return families;
}

}  // namespace

double GridModel::flops_per_token() const { return train_flops_per_token(config.model, config.model.context); }
int64_t GridModel::params() const { return make_parameter_table(config.model).num_parameters(); }
int64_t GridModel::active_params() const { return num_active_parameters(config.model); }
int64_t GridModel::memory_bytes() const { return estimate_memory(config).total(config.train.recompute); }

int64_t Grid::tokens(const GridPoint& point) const {
  const int64_t update = models[point.model].update_tokens();
  return (point.budget + update - 1) / update * update;
}

double Grid::train_flops(const GridPoint& point) const {
  return models[point.model].flops_per_token() * static_cast<double>(tokens(point));
}

std::string Grid::name(const GridPoint& point) const {
  return fmt::format("{}/{}", models[point.model].name(), point.budget);
}

const GridPoint& Grid::smallest(size_t model) const {
  return *std::find_if(points.begin(), points.end(), [&](const GridPoint& point) { return point.model == model; });
}

Grid make_grid(const StudyConfig& config, const std::string& file) {
  const GridConfig& asked = config.grid;
  const auto at = [&](const char* key) {
    const auto origin = asked.origins.find(key);
    return origin == asked.origins.end() ? file : origin->second;
  };
  Grid grid{.families = read_families(asked, at("families")), .models = {}, .points = {}};
  require_once(asked.sizes, at("sizes"), "sizes");
  require_once(asked.tokens, at("tokens"), "tokens");
  require_once(asked.seeds, at("seeds"), "seeds");
  if (asked.lr_trials > 0 && asked.lr_trials < 3)
    fail(ErrorCode::kUsage, "{}: study.grid.lr_trials: expected 0 or at least 3 (a rate, half and twice it), got {}",
         at("lr_trials"), asked.lr_trials);
  std::vector<int64_t> more = asked.seeds, budgets = asked.tokens;
  more.insert(more.end(), asked.more_seeds.begin(), asked.more_seeds.end());
  require_once(more, at("more_seeds"), "more_seeds");
  if (asked.more_seeds.empty() != asked.more_seeds_at.empty())
    fail(ErrorCode::kUsage, "{}: study.grid.more_seeds: expected more_seeds and more_seeds_at, got one of them",
         at("more_seeds"));
  std::sort(budgets.begin(), budgets.end());
  std::vector<int64_t> skipped, with_more;
  for (const GridFamily& family : grid.families)
    for (const std::string& size : asked.sizes) {
      GridModel model = at_size(family, size, parse_size(size, at("sizes")), config);
      bool any = false;
      for (const int64_t budget : budgets) {
        const std::string point = fmt::format("{}/{}", model.name(), budget);
        if (named_by(asked.skip, point, skipped)) continue;
        any = true;
        grid.points.push_back({.model = grid.models.size(),
                               .budget = budget,
                               .seeds = named_by(asked.more_seeds_at, point, with_more) ? more : asked.seeds});
      }
      if (any) grid.models.push_back(std::move(model));
    }
  if (grid.points.empty())
    fail(ErrorCode::kUsage, "{}: study.grid.skip: expected a point to be left, got none", at("skip"));
  require_use(asked.skip, skipped, at("skip"), "skip");
  require_use(asked.more_seeds_at, with_more, at("more_seeds_at"), "more_seeds_at");
  require_alike(grid.models, at("families"));
  return grid;
}

std::string name(const Grid& grid, const GridRun& run) {
  return fmt::format("{}/lr-{}/seed-{}", grid.name(grid.points[run.point]), run.lr, run.seed);
}

RunConfig config_of(const Grid& grid, const GridRun& run, const StudyConfig& study, const StudyData& data) {
  const GridPoint& point = grid.points[run.point];
  RunConfig config = grid.models[point.model].config;
  take_data(config, study, data);
  config.train.steps = 0;
  config.train.tokens = point.budget;
  config.train.seed = run.seed;
  config.train.schedule.lr = run.lr;
  check(config, grid.models[point.model].path);
  return config;
}

void take_data(RunConfig& config, const StudyConfig& study, const StudyData& data) {
  config.model.vocab_size = study.vocab_size;
  config.model.eos_id = Tokenizer::load(data.tokenizer.string()).end_of_text();
  config.data = {};
  for (const StudyDomain& domain : data.train) config.data.train.push_back(domain.name + "=" + domain.dataset.string());
  for (const StudyDomain& domain : data.evaluation)
    if (!domain.held_out) config.data.valid.push_back(domain.name + "=" + domain.dataset.string());
}

}  // namespace troupe
