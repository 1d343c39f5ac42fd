"""The decorator of all numba kernels, with types that mypy can check.

`@kernel` compiles a function at its first call, caches it on disk, and runs it without the interpreter lock;
`@kernel(fastmath=ANY_ORDER)` passes further options to `numba.njit`.
"""

import logging
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar, overload

from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]
"""An array in a kernel's signature: the kernel is compiled for the dtypes that it is called with."""

ANY_ORDER = {"reassoc", "contract", "nsz"}
"""Floating-point sums in any order, for `fastmath`.  NaN and infinity are kept: learners check for them."""

Function = TypeVar("Function", bound=Callable[..., Any])


@overload
def kernel(function: Function) -> Function: ...
@overload
def kernel(**options: Any) -> Callable[[Function], Function]: ...
def kernel(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Compile a function with `numba.njit(cache=True, nogil=True, **options)`.

    Where numba can write neither beside the code nor below the home directory, nothing is cached.
    """

    def compiled(function: Callable[..., Any]) -> Any:
        try:
            return njit(cache=True, nogil=True, **options)(function)
        except RuntimeError as error:
            if "no locator available" not in str(error):
                raise
            _say_not_cached()
            return njit(nogil=True, **options)(function)

    return compiled if function is None else compiled(function)


@cache
def _say_not_cached() -> None:
    """Say once that each start compiles the kernels again."""
    logging.getLogger(__name__).warning(
        "compiled kernels cannot be kept, and each start compiles them again:"
        " set NUMBA_CACHE_DIR to a folder that can be written"
    )
