"""MedImgClassifier: classes, evidence and doubts for CT and MR volumes, inside 3D Slicer and outside it."""

__version__ = "0.1.0"
