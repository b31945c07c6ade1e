"""Hot arithmetic on plain tensors: C for the CPU and torch with the same results, one file a kernel."""

from flowkit.kernels.compilation import compiled, compiling, set_compile, without

__all__ = ["compiled", "compiling", "set_compile", "without"]


def __dir__() -> list[str]:
    return __all__
