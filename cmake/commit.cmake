# Writes OUTPUT, which defines the commit of SOURCE: "1a2b3c4d5e6f", with a "+" if files that git knows differ from it,
# "unknown" outside a repository. Touched only when that changes, so that a build of the same commit compiles nothing.
cmake_minimum_required(VERSION 3.25) # its policies
execute_process(COMMAND git -C ${SOURCE} rev-parse --short=12 HEAD OUTPUT_VARIABLE commit ERROR_QUIET
  OUTPUT_STRIP_TRAILING_WHITESPACE)
execute_process(COMMAND git -C ${SOURCE} status --porcelain --untracked-files=no OUTPUT_VARIABLE changes ERROR_QUIET)
if(NOT commit)
  set(commit unknown)
elseif(changes)
  string(APPEND commit +)
endif()
file(CONFIGURE OUTPUT ${OUTPUT} @ONLY CONTENT
"#include \"cli/commit.h\"\nconst char* const troupe::cli::kCommit = \"@commit@\";\n")
