// Table [finetune]: what a model goes on to learn, and with which rates, seeds and parameters. The defaults and those
// of [model] and [train] beside it are the paper's (Artetxe et al. 2021, fine-tuning): Adam (0.9, 0.98) with eps 1e-6,
// no clipping, dropout 0.1, a warm-up over 6 % of the updates and a linear decay.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "train/lora_config.h"
#include "troupe/fields.h"
#include "troupe/path_fields.h"

namespace troupe {

// What stays as it is.
enum class Freeze { kNothing, kExperts, kRouter, kAllButAttention, kAllButExperts, kAllButChosenExperts };
template <>
struct EnumNames<Freeze> {
  static constexpr std::array<std::pair<std::string_view, Freeze>, 6> values = {
      {{"nothing", Freeze::kNothing},
       {"experts", Freeze::kExperts},
       {"router", Freeze::kRouter},
       {"all_but_attention", Freeze::kAllButAttention},
       {"all_but_experts", Freeze::kAllButExperts},
       {"all_but_chosen_experts", Freeze::kAllButChosenExperts}}};
};

struct FinetuneConfig {
  std::string model;
  std::vector<std::string> tasks;
  std::string data_dir;
  std::vector<std::string> text;
  std::vector<std::string> answers;
  std::vector<std::string> weights;
  bool together = false;
  std::vector<double> lr = {3e-5};
  bool sweep = false;
  std::vector<int64_t> seeds = {1};
  int64_t epochs = 3;
  int64_t batch_sequences = 16;
  std::string teacher;
  double teacher_alpha = 0.5;
  double teacher_temperature = 1.0;
  Freeze freeze = Freeze::kNothing;
  double top_p = 0.2;
  int64_t train_limit = 0;
  int64_t eval_limit = 0;
  LoraConfig lora;

  template <class V>
  void fields(V& v) {
    v("model", model, Paths::kPlain, "folder of the model to begin with, or of a run");
    v("tasks", tasks, Paths::kToml, "evaluation tasks to learn: built-in ones or files FILE.toml, each by itself");
    v("data_dir", data_dir, Paths::kPlain, "folder of their data, as in `troupe eval tasks --data-dir`");
    v("text", text, Paths::kNamed, "files and folders of plain text, as in `troupe encode`: every token is learnt");
    v("answers", answers, Paths::kNamed,
      "files of JSON lines {\"prompt\", \"completion\"} or {\"messages\"}: answers alone are learnt");
    v("weights", weights, any_value(),
      "\"NAME=SHARE\" for every task, text and answers that are learnt together; none: each in proportion to its size");
    v("together", together, any_value(), "one training learns all tasks; text and answers are part of every training");
    v("lr", lr, range(1e-12, 1e6),
      "peak rate; of several the one that is best in validation, over all seeds, is taken");
    v("sweep", sweep, any_value(),
      "rates 1e-5, 3e-5, 1e-4 and 3e-4, the range that the paper swept; no finetune.lr beside it");
    v("seeds", seeds, range(0, 1e15), "one training each: order of the data, dropout and random routing");
    v("epochs", epochs, range(1, 1e6), "times that everything is seen; the best in validation is kept");
    v("batch_sequences", batch_sequences, range(1, 1 << 24), "prompts or pieces of text per update");
    v("teacher", teacher, Paths::kPlain,
      "folder of a model with the same tokens, or of a run, whose probabilities are learnt beside the text (Hinton et "
      "al. 2015); none: the text alone");
    v("teacher_alpha", teacher_alpha, range(0, 1),
      "A in the loss of a token, (1 - A) nll + A T^2 KL(teacher || model)");
    v("teacher_temperature", teacher_temperature, range(0.01, 1000),
      "T: both models' logits are divided by it in the divergence");
    v("freeze", freeze, any_value(),
      "parameters that stay as they are, without gradients and moments; all_but_chosen_experts learns those experts "
      "alone that finetune.top_p chooses");
    v("top_p", top_p, range(1e-9, 1),
      "of each layer the fewest experts to which this share of the choices of the training data goes are chosen (Wang "
      "et al. 2024, ESFT)");
    v("train_limit", train_limit, range(0, 1e12), "only the first items of each task, text and answers; 0: all");
    v("eval_limit", eval_limit, range(0, 1e12), "only the first items of what is evaluated; 0: all");
    v("lora", lora);
  }
};

}  // namespace troupe
