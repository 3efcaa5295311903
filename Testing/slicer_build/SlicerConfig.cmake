# What `find_package(Slicer)` finds in a Slicer build, as far as an extension of Python files needs it. The macros
# themselves are Slicer's and CTK's own, from the folders SLICER_CMAKE_DIR and CTK_CMAKE_DIR.

list(APPEND CMAKE_MODULE_PATH ${SLICER_CMAKE_DIR} ${CTK_CMAKE_DIR})
set(Slicer_CMAKE_DIR ${SLICER_CMAKE_DIR})
set(Slicer_USE_FILE ${CMAKE_CURRENT_LIST_DIR}/UseSlicer.cmake)
set(Slicer_EXTENSION_GENERATE_CONFIG ${SLICER_CMAKE_DIR}/SlicerExtensionGenerateConfig.cmake)
set(Slicer_EXTENSION_CPACK ${SLICER_CMAKE_DIR}/SlicerExtensionCPack.cmake)
set(Slicer_DONT_USE_EXTENSION TRUE) # no launcher to package with
set(Slicer_USE_PYTHONQT TRUE)
set(Slicer_QTSCRIPTEDMODULES_LIB_DIR lib/Slicer/qt-scripted-modules)
set(Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR ${Slicer_QTSCRIPTEDMODULES_LIB_DIR})
set(Slicer_PYTHON_MODULE_TEST_TEMPLATES_DIR ${SLICER_CMAKE_DIR}/../Base/QTCore/Testing/Python)
set(Slicer_ExternalData_DATA_MANAGEMENT_TARGET DeepRegData)
set(Slicer_LAUNCHER_EXECUTABLE Slicer)

# CTK compiles the scripts with PYTHON_EXECUTABLE; a Slicer build has found it and its library before.
set(PYTHONINTERP_FOUND TRUE)
set(PYTHONLIBS_FOUND TRUE)
set(PYTHON_LIBRARIES ${PYTHON_EXECUTABLE})
