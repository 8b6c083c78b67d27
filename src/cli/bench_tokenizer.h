// `troupe bench tokenizer`, a part of the bench subcommand.
#pragma once

namespace CLI {
class App;
}

namespace troupe::cli {

void add_bench_tokenizer(CLI::App& bench);

}  // namespace troupe::cli
