"""Detectors before training: each looks for one way in which data can fool its trainer, one file each."""
