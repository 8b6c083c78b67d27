// NVIDIA's libraries are loaded when a GPU is asked for, so that one program runs with and without them.
#pragma once

#include <initializer_list>
#include <string>

namespace troupe::cuda {

// Folders to look for libraries in, before the usual ones, with : between them.
inline constexpr const char* kLibraryFoldersVariable = "TROUPE_CUDA_LIBRARIES";

// The first of these names in the first folder that has it; nullptr: none has.
void* open_library(std::initializer_list<const char*> names);
// The file that holds a function.
std::string path_of(void* function);

}  // namespace troupe::cuda
