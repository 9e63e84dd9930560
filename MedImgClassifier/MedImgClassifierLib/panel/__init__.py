"""The widget's parts inside Slicer: Qt and the application. Nothing here is imported before it is needed."""
