// How the log (base/log.h) looks and how much it says: decided once, by the command line.
#pragma once

namespace troupe::log {

void set_quiet(bool quiet);  // warnings only; who draws progress leaves it
bool is_quiet();
void set_color(bool color);  // of the word "warning:"

}  // namespace troupe::log
