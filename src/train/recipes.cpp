#include "train/recipes.h"

namespace troupe {
namespace {

struct RecipeRow {
  Recipe recipe;
  std::string_view text;
};

// Sizes are the file's own. docs/training.md says what was measured.
constexpr RecipeRow kRecipes[] = {
    // fairseq's decoder, which the defaults of [model] are, and the training of quickstart-paper.toml.
    {Recipe::kPaper, R"(
[train.schedule]
kind = "polynomial"
lr = 3e-3
warmup_fraction = 0.04
[train.adam]
beta1 = 0.9
beta2 = 0.98
)"},
    // The decoder of Qwen3 (dense and, with [model.moe], sparse), trained by Muon and Adam (Jordan et al. 2024).
    {Recipe::kModern, R"(
[model]
positions = "rotary"
scale_embedding = false
norm = "rms"
norm_epsilon = 1e-6
qk_norm = "head"
qkv_bias = false
out_bias = false
ffn_bias = false
activation = "silu"
ffn_gated = true
tied_output = false
[model.init]
kind = "normal"
std = 0.036
embedding_std = 0.05
zero_outputs = true
[train.schedule]
kind = "constant_linear"
lr = 0.004
warmup_fraction = 0.04
cooldown_fraction = 0.5
[train.adam]
beta1 = 0.8
beta2 = 0.95
eps = 1e-10
form = "usual"
[train.optimizer]
matrices = "muon"
[train.optimizer.lr]
embedding = 0.15
matrices = 0.02
)"},
};

}  // namespace

std::string_view recipe_text(Recipe recipe) {
  for (const RecipeRow& row : kRecipes)
    if (row.recipe == recipe) return row.text;
  return {};
}

}  // namespace troupe
