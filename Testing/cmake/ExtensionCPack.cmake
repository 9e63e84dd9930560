# What stands here when the package is made goes into its description: written down for the test to read.
get_property(generated GLOBAL PROPERTY _EXTENSION_CONFIG_GENERATED)
if(NOT generated)
  message(FATAL_ERROR "include(\${Slicer_EXTENSION_GENERATE_CONFIG}) comes before include(\${Slicer_EXTENSION_CPACK})")
endif()
set(fields HOMEPAGE CONTRIBUTORS DESCRIPTION ICONURL SCREENSHOTURLS DEPENDS)
set(described "NAME=${PROJECT_NAME}\n")
foreach(field IN LISTS fields)
  string(APPEND described "${field}=${EXTENSION_${field}}\n")
endforeach()
file(WRITE "${CMAKE_BINARY_DIR}/described.txt" "${described}")

if(SLICER_SOURCE_DIR)
  foreach(field IN LISTS fields)
    list(APPEND arguments "EXTENSION_${field}" "${EXTENSION_${field}}")
  endforeach()
  slicerFunctionGenerateExtensionDescription(
    EXTENSION_NAME "${PROJECT_NAME}" ${arguments}
    EXTENSION_WC_TYPE git EXTENSION_WC_URL "${EXTENSION_HOMEPAGE}.git" EXTENSION_WC_ROOT "${EXTENSION_HOMEPAGE}.git"
    EXTENSION_WC_REVISION main
    SLICER_REVISION 0 SLICER_WC_ROOT Slicer
    DESTINATION_DIR "${CMAKE_BINARY_DIR}"
    )
endif()
