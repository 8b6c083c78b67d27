#include "kernels/cuda/libraries.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>
#include <vector>

namespace troupe::cuda {
namespace {

std::vector<std::string> library_folders() {
  std::vector<std::string> folders;
  const char* const variable = std::getenv(kLibraryFoldersVariable);
  for (std::string_view rest = variable ? variable : ""; !rest.empty();) {
    const size_t end = std::min(rest.find(':'), rest.size());
    if (end > 0) folders.push_back(std::string(rest.substr(0, end)) + "/");
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  folders.push_back("");  // where the loader looks
  for (const char* usual : {"/usr/local/cuda/lib64/", "/opt/cuda/lib64/"}) folders.push_back(usual);
  return folders;
}

}  // namespace

void* open_library(std::initializer_list<const char*> names) {
  for (const std::string& folder : library_folders())
    for (const char* name : names)
      if (void* const handle = dlopen((folder + name).c_str(), RTLD_NOW | RTLD_LOCAL)) return handle;
  return nullptr;
}

std::string path_of(void* function) {
  Dl_info info{};
  return dladdr(function, &info) && info.dli_fname ? info.dli_fname : "";
}

}  // namespace troupe::cuda
