# A toolchain without one: project() asks for C and C++, the extension compiles neither. Saves a second a run, too.
foreach(language C CXX)
  set(CMAKE_${language}_COMPILER "${CMAKE_COMMAND}")
  set(CMAKE_${language}_COMPILER_ID_RUN TRUE)
  set(CMAKE_${language}_COMPILER_FORCED TRUE)
endforeach()
