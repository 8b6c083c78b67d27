// The subcommands of `troupe eval`, one file each.
#pragma once

namespace CLI {
class App;
}

namespace troupe::cli {

void add_eval_ppl(CLI::App& eval);
void add_eval_tasks(CLI::App& eval);
void add_eval_bias(CLI::App& eval);
void add_eval_report(CLI::App& eval);

}  // namespace troupe::cli
