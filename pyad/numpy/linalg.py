"""`numpy.linalg`, whose functions take Arrays."""

from numpy.linalg import *  # noqa: F403
