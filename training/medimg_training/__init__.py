"""Training and evaluation of classifiers: manifest -> split -> cache -> fit -> figures -> bundle."""
