"""The MRML room: volumes, evidence, tables, plots and saved scenes, the same inside Slicer and outside it.

Only slicer and vtk are imported here at module level; numpy and the engine are imported inside functions, so
that opening the panel costs nothing. World coordinates of MRML are RAS mm, those of the engine LPS mm.
"""
