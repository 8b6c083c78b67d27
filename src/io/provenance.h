// What computed a result: program, machine and settings that decide its bits and its speed. Part of every run, result
// line and page.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace troupe {

struct Provenance {
  std::string version, commit;  // of the program; the commit ends with "+" if files differed from it
  std::string compiler;
  std::string isa, precision;  // of the kernels; precision is empty where nothing is computed with it
  int64_t threads = 0;
  std::string cpu, host;
  std::string date;  // UTC

  template <class V>
  void fields(V& v) {
    v("version", version), v("commit", commit), v("compiler", compiler), v("isa", isa);
    v.unless_empty("precision", precision);
    v.count("threads", threads), v("cpu", cpu), v("host", host);
    v.unless_empty("date", date);
  }
};

// To be called first in main(), by the one file that knows the commit: the libraries are not compiled again for it.
void set_program(std::string version, std::string commit);
std::string program_version();  // "0.1.0 (1a2b3c4d5e6f)"

Provenance provenance(const std::string& precision = {});
nlohmann::ordered_json to_json(const Provenance& of);  // without what is empty of precision and date
// Adds it as "provenance" to a line of results; the precision is that of the line, if it has one.
void add_provenance(nlohmann::ordered_json& line, const std::string& precision = {});
// "troupe 0.1.0 (1a2b3c4d5e6f, GCC 12.2.0), avx512bf16, bf16, 2 threads of AMD EPYC 9654 on HOST, 2026-01-31T12:00:00Z"
std::string describe(const Provenance& of);
std::string describe_provenance(const nlohmann::json& of);  // the same of to_json(); what is missing is "unknown"

}  // namespace troupe
