"""Getting the libraries that Slicer does not bring into its Python: what is missing, what pip says, the offline kit.

Without Slicer and Qt: `panel/install.py` is the face of it, `medimg kit` makes the kit.
"""
