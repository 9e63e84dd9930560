# A stand-in for a build tree of Slicer, which find_package(Slicer) finds by this file's name: the variables that
# extensions read, and nothing else. UseSlicer.cmake brings the macros. test_cmake.py says what is checked with them.
set(Slicer_USE_FILE "${CMAKE_CURRENT_LIST_DIR}/UseSlicer.cmake")
set(Slicer_EXTENSION_GENERATE_CONFIG "${CMAKE_CURRENT_LIST_DIR}/ExtensionGenerateConfig.cmake")
set(Slicer_EXTENSION_CPACK "${CMAKE_CURRENT_LIST_DIR}/ExtensionCPack.cmake")

set(Slicer_USE_PYTHONQT ON)
# Never started; ctest lists commands only of programs that exist.
set(Slicer_LAUNCHER_EXECUTABLE "${CMAKE_COMMAND}")
set(Slicer_LIB_DIR "lib/Slicer-5.12")
foreach(kind CLI QTLOADABLE QTSCRIPTED)
  string(TOLOWER "${kind}-modules" folder)
  string(REPLACE "qt" "qt-" folder "${folder}")
  set(Slicer_${kind}MODULES_LIB_DIR "${Slicer_LIB_DIR}/${folder}")
endforeach()
set(Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR "${Slicer_QTSCRIPTEDMODULES_LIB_DIR}")
