"""Where inference runs, and the client through which Slicer and the command line reach it."""
