// troupe eval ppl | tasks | bias | report: what a model knows, measured (docs/evaluation.md).
#include "cli/eval.h"

#include <CLI/CLI.hpp>

#include "cli/command.h"

namespace troupe::cli {

void add_eval(CLI::App& app) {
  CLI::App* const command = app.add_subcommand("eval", "Perplexity, tasks and bias of a model");
  command->require_subcommand(1);
  add_eval_ppl(*command);
  add_eval_tasks(*command);
  add_eval_bias(*command);
  add_eval_report(*command);
}

}  // namespace troupe::cli
