#include "io/provenance.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "base/isa.h"
#include "base/machine.h"
#include "base/quantity.h"
#include "base/threads.h"
#include "io/json_fields.h"

namespace troupe {
namespace {

struct Program {
  std::string version = "unknown", commit = "unknown";
};

Program& program() {
  static Program instance;
  return instance;
}

std::string compiler() {
#if defined(__clang__)
  return fmt::format("Clang {}.{}.{}", __clang_major__, __clang_minor__, __clang_patchlevel__);
#elif defined(__GNUC__)
  return fmt::format("GCC {}.{}.{}", __GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__);
#else
  return "unknown";
#endif
}

}  // namespace

void set_program(std::string version, std::string commit) { program() = {std::move(version), std::move(commit)}; }

std::string program_version() { return fmt::format("{} ({})", program().version, program().commit); }

Provenance provenance(const std::string& precision) {
  static const std::string cpu = read_machine().cpu, host = host_name();
  return {.version = program().version,
          .commit = program().commit,
          .compiler = compiler(),
          .isa = std::string(name_of_enum(active_isa())),
          .precision = precision,
          .threads = num_threads(),
          .cpu = cpu,
          .host = host,
          .date = utc_time()};
}

nlohmann::ordered_json to_json(const Provenance& of) { return json_of(of); }

void add_provenance(nlohmann::ordered_json& line, const std::string& precision) {
  line["provenance"] = to_json(provenance(precision.empty() ? line.value("precision", "") : precision));
}

std::string describe(const Provenance& of) {
  return fmt::format("troupe {} ({}, {}), {}{}, {} of {} on {}{}", of.version, of.commit, of.compiler, of.isa,
                     of.precision.empty() ? "" : ", " + of.precision, counted(of.threads, "thread"),
                     of.cpu.empty() ? "an unknown processor" : of.cpu, of.host, of.date.empty() ? "" : ", " + of.date);
}

std::string describe_provenance(const nlohmann::json& of) {
  const auto text = [&](const char* key) {
    return of.is_object() && of.contains(key) && of[key].is_string() ? of[key].get<std::string>() : "unknown";
  };
  const bool has_threads = of.is_object() && of.contains("threads") && of["threads"].is_number_integer();
  return describe({.version = text("version"),
                   .commit = text("commit"),
                   .compiler = text("compiler"),
                   .isa = text("isa"),
                   .precision = text("precision"),
                   .threads = has_threads ? of["threads"].get<int64_t>() : 0,
                   .cpu = text("cpu"),
                   .host = text("host"),
                   .date = text("date")});
}

}  // namespace troupe
