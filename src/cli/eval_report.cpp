// troupe eval report: results of several models as one HTML page.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/eval.h"
#include "cli/output.h"
#include "io/atomic_file.h"
#include "io/named_path.h"
#include "study/eval_page.h"

namespace troupe::cli {
namespace {

struct EvalReportFlags {
  std::vector<std::string> files;
  std::string out = "evaluation.html", title = "Evaluation";
  bool json = false;
};

void run(const EvalReportFlags& flags) {
  EvalResults results;
  for (const std::string& file : flags.files) {
    const NamedPath entry = parse_named_path(file, "eval report");
    read_eval_results(read_file(entry.path), entry.path, entry.given ? entry.name : "", results);
  }
  if (results.figures.empty())
    fail(ErrorCode::kData, "{}: expected results of troupe eval --json, got none", flags.files.front());
  write_file_atomically(flags.out, to_html(results, flags.title));
  if (!flags.json) return print("{}\n", flags.out);
  print_json({{"schema", "troupe.eval.report/1"},
              {"page", flags.out},
              {"title", flags.title},
              {"figures", results.figures.size()}});
}

}  // namespace

void add_eval_report(CLI::App& eval) {
  const auto flags = std::make_shared<EvalReportFlags>();
  CLI::App* const command = eval.add_subcommand("report", "Results of several models as one HTML page");
  command
      ->add_option("results", flags->files,
                   "files of JSON lines that eval tasks, ppl and bias printed with --json, as FILE or NAME=FILE (the "
                   "model's name on the page)")
      ->required()
      ->type_name("FILE");
  command->add_option("--out", flags->out, "the page")->type_name("FILE");
  command->add_option("--title", flags->title, "its title")->type_name("TEXT");
  command->add_flag("--json", flags->json, "one JSON object: the page, its title and its figures");
  command->callback([flags] { run(*flags); });
}

}  // namespace troupe::cli
