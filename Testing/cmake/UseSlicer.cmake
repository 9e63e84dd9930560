# What include(${Slicer_USE_FILE}) gives an extension: testing, and the macros that its modules are built with.
# SLICER_SOURCE_DIR and CTK_SOURCE_DIR, given together, bring Slicer's own; without them ours check more than those.
foreach(field HOMEPAGE CONTRIBUTORS DESCRIPTION ICONURL SCREENSHOTURLS DEPENDS)
  if("${EXTENSION_${field}}" STREQUAL "")
    message(FATAL_ERROR "EXTENSION_${field} must be set before include(\${Slicer_USE_FILE})")
  endif()
endforeach()

include(CTest)

if(SLICER_SOURCE_DIR)
  include("${CMAKE_CURRENT_LIST_DIR}/MacrosOfSlicer.cmake")
else()
  include("${CMAKE_CURRENT_LIST_DIR}/CheckingMacros.cmake")
endif()
