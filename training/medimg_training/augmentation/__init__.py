"""Augmentation in two dimensions, in batches and on the device: between geometry and intensity.

`batches.training_batch` is the door of a training loop; `mixing.mix` follows it where a policy mixes.
"""
