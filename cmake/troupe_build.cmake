# Flags, layers and tests: everything that CMakeLists.txt files of the layers need.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()

find_program(TROUPE_CCACHE ccache)
if(TROUPE_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${TROUPE_CCACHE})
endif()

include(libraries)
troupe_check_compiler()
troupe_find_libraries()

# Warnings, optimisation and sanitizers travel in this one target.
add_library(troupe_options INTERFACE)
target_compile_options(troupe_options INTERFACE -Wall -Wextra -Wpedantic -Wno-unknown-pragmas -Wno-psabi -Wno-missing-field-initializers
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>) # GCC 12 sees overlaps in operator+ of strings that are not there (bug 105651)
target_include_directories(troupe_options INTERFACE ${CMAKE_CURRENT_SOURCE_DIR}/include ${CMAKE_CURRENT_SOURCE_DIR}/src)
target_link_libraries(troupe_options INTERFACE OpenMP::OpenMP_CXX)
# GCC throws away what it no longer needs when this many kB are in use (128 MB otherwise, again and again: 7 % of the time).
target_compile_options(troupe_options INTERFACE $<$<CXX_COMPILER_ID:GNU>:--param=ggc-min-heapsize=1048576>)
if(TROUPE_SANITIZE)
  target_compile_options(troupe_options INTERFACE -fsanitize=${TROUPE_SANITIZE} -fno-sanitize-recover=all
    -fno-omit-frame-pointer -g1) # what is found ends the program, or a test would pass over it
  target_link_options(troupe_options INTERFACE -fsanitize=${TROUPE_SANITIZE})
endif()
if(TROUPE_FUZZ)
  target_compile_options(troupe_options INTERFACE -fsanitize=fuzzer-no-link) # a fuzzer goes by the branches taken
endif()

# troupe_unity(TARGET FILES): TARGET's sources in units of FILES files each, so that what is dear (headers, templates,
# inline functions of libraries) is compiled once a unit. Every file must compile alone too (-DTROUPE_UNITY=OFF, as in
# the preset dev), and names at file scope are unique in a folder.
function(troupe_unity target files)
  if(TROUPE_UNITY)
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE ${files})
  endif()
endfunction()

# troupe_layer(NAME [UNITY files] [COLD | COLD_FILES regex] [DEPENDS layer...] [PUBLIC_LIBRARIES target...]
# [LIBRARIES target...]): src/NAME as static library troupe::NAME. Libraries that a header of the layer includes are
# public, others private. COLD: no loop of the layer is worth the compile time of -O3 (a release is built with -Og then,
# which takes half of it); COLD_FILES: none of the files whose path matches.
# Every *.cpp below the folder belongs to it, except kernels/cpu, whose files are compiled per instruction set.
function(troupe_layer name)
  cmake_parse_arguments(arg "COLD" "UNITY;COLD_FILES" "DEPENDS;PUBLIC_LIBRARIES;LIBRARIES;EXCLUDE" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  foreach(pattern ${arg_EXCLUDE})
    list(FILTER sources EXCLUDE REGEX ${pattern})
  endforeach()
  if(NOT sources)
    return() # a folder of headers only
  endif()
  set(parts troupe_${name})
  if(arg_COLD_FILES)
    set(cold ${sources})
    list(FILTER cold INCLUDE REGEX ${arg_COLD_FILES})
    list(REMOVE_ITEM sources ${cold})
    add_library(troupe_${name}_cold OBJECT ${cold})
    list(APPEND parts troupe_${name}_cold)
    list(APPEND sources $<TARGET_OBJECTS:troupe_${name}_cold>)
  endif()
  add_library(troupe_${name} STATIC ${sources})
  add_library(troupe::${name} ALIAS troupe_${name})
  if(arg_COLD OR arg_COLD_FILES)
    list(GET parts -1 part)
    target_compile_options(${part} PRIVATE $<$<CONFIG:Release>:-Og>)
  endif()
  foreach(part ${parts})
    set_target_properties(${part} PROPERTIES POSITION_INDEPENDENT_CODE ON)
    if(arg_UNITY)
      troupe_unity(${part} ${arg_UNITY})
    endif()
    target_link_libraries(${part} PUBLIC troupe_options ${arg_PUBLIC_LIBRARIES} PRIVATE ${arg_LIBRARIES})
    foreach(layer ${arg_DEPENDS})
      target_link_libraries(${part} PUBLIC troupe::${layer})
    endforeach()
  endforeach()
endfunction()

# troupe_tests(KIND LAYER [LIBRARIES target...]): every tests/KIND/LAYER/*_test.cpp in one program that links nothing
# below LAYER, so that a forbidden dependency fails to link. The CTest label is KIND.
function(troupe_tests kind layer)
  cmake_parse_arguments(arg "" "" "LIBRARIES" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${kind}/${layer}/*_test.cpp)
  if(NOT sources OR NOT TARGET troupe_${layer})
    return()
  endif()
  set(program ${kind}_${layer}_tests)
  add_executable(${program} ${sources})
  target_link_libraries(${program} PRIVATE troupe::${layer} troupe_test_support ${arg_LIBRARIES})
  target_compile_options(${program} PRIVATE $<$<CONFIG:Release>:-O1>) # a third less compile time
  target_compile_definitions(${program} PRIVATE TROUPE_TEST_DATA="${PROJECT_SOURCE_DIR}/tests/data")
  gtest_discover_tests(${program} TEST_PREFIX ${kind}/${layer}/ DISCOVERY_MODE PRE_TEST
    PROPERTIES LABELS ${kind} TIMEOUT 600)
endfunction()
