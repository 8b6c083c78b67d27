// Fields of a configuration that hold paths. One that stands in a file starts from the folder of that file, one given on
// the command line from the working directory (docs/configuration.md).
#pragma once

namespace troupe {

enum class Paths {
  kPlain,  // "PATH"
  kNamed,  // "NAME=PATH" or "PATH" (io/named_path.h)
  kToml,   // "FILE.toml"; anything else is a name of something built in and stays as it is
};

}  // namespace troupe
