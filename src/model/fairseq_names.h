// The names of fairseq's parameters and ours: one table, both directions.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace troupe {

// "layers.3.moe.router.weight" -> "decoder.layers.3.moe_layer.gate.wg.weight"; nullopt for a name of neither.
std::optional<std::string> fairseq_name_of(std::string_view troupe_name);
// The reverse.
std::optional<std::string> troupe_name_of(std::string_view fairseq_name);

// Tensors of fairseq's checkpoints that are no parameters of their own: a version mark, a placeholder that tells the
// device of the sinusoidal table, and the output matrix, which is tied to the embedding.
bool is_no_parameter(std::string_view fairseq_name);

}  // namespace troupe
