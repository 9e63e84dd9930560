"""What a classifier achieves: out-of-fold predictions in, figures with intervals, curves and comparisons out."""
