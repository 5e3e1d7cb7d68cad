"""The worked example of `python -m pyad`: a predator-prey model fitted to a century-old table.

`lotka_volterra` holds the data and the model, `fit` the least squares, `cost` the measurement of
one gradient, `pure_tape` the pure-Python tape it is compared with, `chart` the drawings. SciPy and
matplotlib are imported where they are used, so that importing this package needs neither.
"""
