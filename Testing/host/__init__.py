"""A small stand-in application: enough of `qt`, `ctk`, `slicer.app` and `slicer.modules` to run a scripted module.

It runs on PySide6 (offscreen) and slicer-core, for tests only.

    from host import application
    application.boot()                                  # or boot(main_window=True)
    module = application.load_module(path_of_py_file)
    panel, window = application.open_panel(module)

Where to look: `application` (start, modules, panels, slice views, main window, language), `pythonqt` (how it speaks),
`faults` (what it noticed), `dialogs`, `pip` and `torch_extension` (what code asked for, and the answers), `gestures`
(clicks), `widgets` (all stand-ins by name), `reference` (what the real classes have). Testing/README.md says what is
the same as in Slicer and what is stricter on purpose.
"""
