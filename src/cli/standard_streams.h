// Descriptors 0 to 2 as the rest of the program may rely on them, and standard input as a whole.
#pragma once

#include <string>

namespace troupe::cli {

// Opens what the caller closed on /dev/null, so that no file of ours becomes descriptor 0, 1 or 2 and receives what is
// meant for people. A closed standard output stays unwritable and a closed standard input unreadable: using them is an
// error. To be called before anything opens a file.
void open_closed_streams();

// Everything on standard input; throws kEnvironment if it cannot be read.
std::string read_standard_input();
// The next line without its end; false at the end of standard input. Throws like the above.
bool read_standard_input_line(std::string& line);

}  // namespace troupe::cli
