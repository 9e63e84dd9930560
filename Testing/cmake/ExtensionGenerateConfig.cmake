# Slicer writes <Extension>Config.cmake here, before the extension is packaged; only the order is checked.
set_property(GLOBAL PROPERTY _EXTENSION_CONFIG_GENERATED TRUE)
