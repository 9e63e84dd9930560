"""A small stand-in application: enough of `qt`, `ctk` and `slicer.app` to load the scripted module and press it.

It runs on PySide6 (offscreen) and slicer-core, for tests only. It answers the way PythonQt does, strictly: properties
are attributes, an unknown signal is an error, and an exception inside a slot is recorded so that a test can fail on it.

    from host import application
    application.boot()
    module = application.load_module(path_of_py_file)
    widget = application.open_panel(module)
"""
