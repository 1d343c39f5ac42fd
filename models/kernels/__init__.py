"""Building blocks of the models' inner loops: the `kernel` decorator, selection of the best, hashing, decay.

Kernels are loops over numpy arrays that numba compiles once and caches on disk (`jit`).  They release the
interpreter lock, so that several threads may rank at once.
"""
