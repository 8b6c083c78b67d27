# What `cmake --install` and packages put where. The program needs no other file: tasks and presets are inside.
include(GNUInstallDirs)
set(docs ${CMAKE_INSTALL_DATADIR}/doc/troupe)
install(TARGETS troupe RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY configs tasks DESTINATION ${CMAKE_INSTALL_DATADIR}/troupe)
install(FILES README.md CHANGELOG.md LICENSE DESTINATION ${docs})
install(DIRECTORY docs DESTINATION ${docs} FILES_MATCHING PATTERN *.md)

# With the libraries in a folder of their own, that only this program searches, and theirs as well: hence RPATH, not
# RUNPATH, which would not hold for what a library needs in its turn.
set_target_properties(troupe PROPERTIES INSTALL_RPATH "$ORIGIN/../lib/troupe")
target_link_options(troupe PRIVATE LINKER:--disable-new-dtags)
if(TROUPE_BUNDLE)
  install(CODE "set(program \"$<TARGET_FILE:troupe>\")
set(folders \"${CMAKE_BUILD_RPATH}\")
set(version \"${PROJECT_VERSION}\")
set(docs \"${docs}\")
set(objdump \"${CMAKE_OBJDUMP}\")
set(readme \"${CMAKE_CURRENT_LIST_DIR}/package_readme.txt.in\")")
  install(SCRIPT ${CMAKE_CURRENT_LIST_DIR}/bundle.cmake)
endif()

string(TOLOWER ${CMAKE_SYSTEM_NAME} system)
set(CPACK_GENERATOR TGZ)
set(CPACK_PACKAGE_FILE_NAME troupe-${PROJECT_VERSION}-${system}-${CMAKE_SYSTEM_PROCESSOR})
set(CPACK_PACKAGE_CHECKSUM SHA256)
set(CPACK_STRIP_FILES ON)
set(CPACK_VERBATIM_VARIABLES ON)
include(CPack)
