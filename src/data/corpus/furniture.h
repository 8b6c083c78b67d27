// What the pages of a site repeat around their text: menus, mottos, footers.
#pragma once

#include <string>
#include <vector>

namespace troupe::corpus {

// Drops from the first 100 and the last 30 lines of each page (blank ones do not count) those that stand there in at
// least half of the pages. Fewer than ten pages stay as they are, as what they share may be text. A page with nothing
// else becomes "".
void drop_furniture(const std::vector<std::string*>& pages);

}  // namespace troupe::corpus
