#include "model/fairseq_names.h"

#include <array>
#include <utility>

namespace troupe {
namespace {

struct Row {
  std::string_view troupe, fairseq;
};

// Beginnings of names; what follows (projection, expert number, weight or bias) is the same on both sides.
constexpr std::array kWhole = {Row{"embed_tokens.", "decoder.embed_tokens."},
                               Row{"embed_positions.", "decoder.embed_positions."},
                               Row{"final_norm.", "decoder.layer_norm."}};
constexpr Row kLayer = {"layers.", "decoder.layers."};  // then the number and one of:
constexpr std::array kInLayer = {Row{".attn_norm.", ".self_attn_layer_norm."},
                                 Row{".attn.", ".self_attn."},
                                 Row{".ffn_norm.", ".final_layer_norm."},
                                 Row{".ffn.fc1.", ".fc1."},
                                 Row{".ffn.fc2.", ".fc2."},
                                 Row{".moe.router.", ".moe_layer.gate.wg."},
                                 Row{".moe.experts.", ".moe_layer.experts."}};

std::optional<std::string> rename(std::string_view name, std::string_view Row::*from, std::string_view Row::*to) {
  for (const Row& row : kWhole)
    if (name.starts_with(row.*from)) return std::string(row.*to).append(name.substr((row.*from).size()));
  if (!name.starts_with(kLayer.*from)) return std::nullopt;
  const size_t begin = (kLayer.*from).size(), end = name.find_first_not_of("0123456789", begin);
  if (end == begin || end == name.npos) return std::nullopt;
  const std::string_view number = name.substr(begin, end - begin), rest = name.substr(end);
  for (const Row& row : kInLayer)
    if (rest.starts_with(row.*from))
      return std::string(kLayer.*to).append(number).append(row.*to).append(rest.substr((row.*from).size()));
  return std::nullopt;
}

}  // namespace

std::optional<std::string> fairseq_name_of(std::string_view troupe_name) {
  return rename(troupe_name, &Row::troupe, &Row::fairseq);
}

std::optional<std::string> troupe_name_of(std::string_view fairseq_name) {
  return rename(fairseq_name, &Row::fairseq, &Row::troupe);
}

bool is_no_parameter(std::string_view fairseq_name) {
  return fairseq_name == "decoder.version" || fairseq_name == "decoder.embed_positions._float_tensor" ||
         fairseq_name == "decoder.output_projection.weight";
}

}  // namespace troupe
