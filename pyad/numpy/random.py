"""`numpy.random`: it makes plain arrays of numbers."""

from numpy.random import *  # noqa: F403
