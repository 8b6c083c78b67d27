// troupe report: one or several training runs as one HTML page.
#include "study/report.h"

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/output.h"
#include "io/named_path.h"

namespace troupe::cli {
namespace {

struct ReportFlags {
  std::vector<std::string> runs;
  std::string out, title;
  bool json = false;
};

void run(const ReportFlags& flags) {
  const std::vector<NamedPath> runs = parse_named_paths(flags.runs, "report");
  std::vector<ModelResult> results;
  for (const NamedPath& entry : runs) results.push_back(read_run(entry.path, entry.name));
  Report report = make_report(std::move(results));
  if (!flags.title.empty()) report.title = flags.title;
  const std::filesystem::path out =
      flags.out.empty() ? std::filesystem::path(runs.front().path) / "report.html" : std::filesystem::path(flags.out);
  write_report(out, report);
  if (!flags.json) return print("{}\n", out.string());
  nlohmann::ordered_json names = nlohmann::ordered_json::array();
  for (const NamedPath& entry : runs) names.push_back(entry.name);
  print_json({{"schema", "troupe.report/1"}, {"page", out.string()}, {"title", report.title}, {"runs", names}});
}

}  // namespace

void add_report(CLI::App& app) {
  auto* const command =
      app.add_subcommand("report", "Training runs as one HTML page: tables, differences by document, curves, routing");
  const auto flags = std::make_shared<ReportFlags>();
  command->add_option("runs", flags->runs, "Run folders of `troupe train`, as FOLDER or NAME=FOLDER")
      ->required()
      ->type_name("RUN");
  command->add_option("--out", flags->out, "The page; default: report.html in the first run folder")->type_name("FILE");
  command->add_option("--title", flags->title, "Its title; default: the names of the runs")->type_name("TEXT");
  command->add_flag("--json", flags->json, "one JSON object: the page, its title and its runs");
  command->callback([flags] { run(*flags); });
}

}  // namespace troupe::cli
