// Prompts of a file:
//   .jsonl, .ndjson   one JSON object a line; the prompt is the string "prompt", other keys are not read
//   .txt              one prompt a line
// and either compressed (.zst, .gz). A line is a prompt, also an empty one of .txt, so that prompt i is line i + 1.
#pragma once

#include <string>
#include <vector>

namespace troupe {

// Throws kUsage for a file of another kind, kData for one that is empty, damaged, not UTF-8, or that lacks a prompt,
// naming file and line.
std::vector<std::string> read_prompts(const std::string& path);

}  // namespace troupe
