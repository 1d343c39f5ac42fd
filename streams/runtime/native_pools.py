"""The thread pools of native libraries, such as numpy's BLAS: one thread each.

The matrices here are small: a pool's threads would wait busily between two products, which takes half a core
and gains nothing.  What runs in parallel is what `ranking_threads` says.
"""

from threadpoolctl import threadpool_limits


def bound_native_pools() -> None:
    """Give every native pool that is loaded one thread.

    Torch is loaded later, with its first step; those who import it set its threads (`torch.set_num_threads`),
    which bounds OpenMP, too.
    """
    threadpool_limits(limits=1)
