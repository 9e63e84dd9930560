# The macros of a Slicer and a CTK source tree, with the variables that a build of Slicer would set for them.
set(CTK_CMAKE_DIR "${CTK_SOURCE_DIR}/CMake")
list(PREPEND CMAKE_MODULE_PATH "${SLICER_SOURCE_DIR}/CMake" "${SLICER_SOURCE_DIR}/Extensions/CMake" "${CTK_CMAKE_DIR}")

set(Slicer_CMAKE_DIR "${SLICER_SOURCE_DIR}/CMake")
set(Slicer_EXTENSIONS_CMAKE_DIR "${SLICER_SOURCE_DIR}/Extensions/CMake")
set(Slicer_PYTHON_MODULE_TEST_TEMPLATES_DIR "${SLICER_SOURCE_DIR}/Base/QTCore/Testing/Python")
set(Slicer_ExternalData_DATA_MANAGEMENT_TARGET SlicerData)
# Scripts are byte-compiled by the interpreter that runs the tests; no library is linked to.
set(PYTHONINTERP_FOUND TRUE)
set(PYTHONLIBS_FOUND TRUE)
set(PYTHON_LIBRARIES "${PYTHON_EXECUTABLE}")

include(ExternalData)
include(ctkFunctionExtractOptimizedLibrary)
include(ctkMacroCompilePythonScript)
include(SlicerMacroBuildScriptedModule)
include(SlicerMacroPythonTesting)
include(SlicerMacroConfigureGenericPythonModuleTests)
include(SlicerFunctionGenerateExtensionDescription)
