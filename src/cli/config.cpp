// troupe config show | reference: what a configuration file resolves to, and which keys there are.
#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/run_file.h"
#include "io/atomic_file.h"
#include "io/config_reference.h"
#include "io/json_config.h"
#include "io/toml_config.h"
#include "study/study_config.h"

namespace troupe::cli {
namespace {

constexpr const char* kPreamble =
    "# Configuration\n\n"
    "<!-- Written by `troupe config reference`; do not edit. -->\n\n"
    "A run is one TOML file. A variation is another file that begins with `base = \"other.toml\"` (read first) or\n"
    "`--set key=value` on the command line, which is recorded in the run directory. `recipe` stands below both: its values\n"
    "count where neither the file, its base nor `--set` gives one. In `--set`, keys are written in full\n"
    "(`--set model.moe.num_experts=16`), strings need no quotes, several of a list are written as in a file\n"
    "(`--set 'data.weights=[\"books=2\", \"news=1\"]'`), and the last value of a key counts. Whole numbers may be\n"
    "written as floats (`8e6`). An unknown key is an error that names the nearest one. `troupe config show CONFIG.toml`\n"
    "prints every resolved value and where it came from, and refuses what `troupe train` refuses before it opens data.\n\n"
    "Relative paths in a file (`base` and the keys whose type says path) start from the folder of that file, wherever the\n"
    "program is started; those of flags and of `--set` start from the working directory. In a list of names and paths what\n"
    "ends in `.toml` is a path.\n"
    "`[finetune]` is a table of files of `troupe finetune` alone (docs/finetuning.md).\n"
    "Those that a run records start from its folder, so that `RUN/config.toml` can be trained again as it is.\n\n";

constexpr const char* kStudyPreamble =
    "\n# Studies\n\nA study is a file of its own (`troupe study CONFIG.toml`) that names the configurations of its "
    "models.\n\n";

struct ConfigFlags {
  std::string config, check;
  std::vector<std::string> overrides;
  bool json = false;
};

void show(const ConfigFlags& flags) {
  RunFile run;
  FieldList fields = fields_of(run);
  read_run_config(flags.config, flags.overrides, fields);
  check(run, flags.config);  // as train does
  if (flags.json) {
    nlohmann::ordered_json line = {{"schema", "troupe.config/1"}};
    line.update(to_json(fields));
    print_json(line);
  } else {
    print("{}", to_toml(fields, Origins::kShow));
  }
}

void print_keys(const FieldList& fields, const char* file) {
  for (const Field& field : fields.fields())
    print_json({{"schema", "troupe.config.key/1"},
                {"file", file},
                {"key", field.path},
                {"default", value_text(field)},
                {"values", expected_values(field)},
                {"meaning", field.doc}});
}

void reference(const ConfigFlags& flags) {
  const RunFile defaults = finetune_keys();
  const StudyFile study;
  if (flags.json) {
    print_keys(fields_of(defaults), "run");
    print_keys(fields_of(study), "study");
    return;
  }
  const std::string text =
      kPreamble + to_markdown(fields_of(defaults)) + kStudyPreamble + to_markdown(fields_of(study));
  if (flags.check.empty()) {
    print("{}", text);
  } else if (read_file(flags.check) != text) {
    fail(ErrorCode::kNo, "{}: expected the output of `troupe config reference`, got another text (write it anew)",
         flags.check);
  }
}

}  // namespace

void add_config(CLI::App& app) {
  auto* const command = app.add_subcommand("config", "Print what a configuration file resolves to, or every key");
  command->require_subcommand(1);
  const auto flags = std::make_shared<ConfigFlags>();

  auto* const show_command = command->add_subcommand("show", "Every value, and the file and line that it comes from; refuses what `train` refuses before it opens data");
  show_command->add_option("config", flags->config, "A run's configuration file")->required()->type_name("CONFIG.toml");
  show_command->add_option("--set", flags->overrides, "Change one key; may be repeated")
      ->type_name("key=value")
      ->expected(1)
      ->take_all()
      ->default_str("");
  show_command->add_flag("--json", flags->json, "One JSON object on stdout");
  show_command->callback([flags] { show(*flags); });

  auto* const reference_command =
      command->add_subcommand("reference", "Every key with type, default, range and meaning, as Markdown");
  reference_command->add_option("--check", flags->check, "Compare with this file instead; exit code 1 if it is stale")
      ->type_name("FILE");
  reference_command->add_flag("--json", flags->json, "One JSON object a key instead");
  reference_command->callback([flags] { reference(*flags); });
}

}  // namespace troupe::cli
