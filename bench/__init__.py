"""Benches: problem x tool, each gradient as a multiple of the same function on plain floats.

Run from the repository root; see `bench/README.md`. Not part of the installed package.
"""
