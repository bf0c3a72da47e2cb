"""The side-by-side benchmark of speed: ``python -m nadam_numba bench``.

It settles thread counts for the whole process, so that it is a program rather than a library.
"""
