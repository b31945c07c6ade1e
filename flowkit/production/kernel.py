"""The Jupyter kernel of this environment: a kernelspec that names its Python, its threads and its device."""

import json
import re
import sys
from pathlib import Path

from flowkit.tasks.machine import describe, pick_device

NAME = "lattice-flowkit"
MOST_THREADS = 4
"""Fields of a notebook's size gain nothing from more threads: they wait for each other."""


def found(device: str) -> str:
    """The device called "auto", "cpu" or "cuda" in words: "CUDA: NVIDIA H100, 79 GiB", "CPU: AMD EPYC, 2 cores".

    Raises
    ------
    ValueError
        As `pick_device`.
    """
    if pick_device(device).type == "cuda":
        import torch

        card = torch.cuda.get_device_properties(torch.cuda.current_device())
        return f"CUDA: {card.name}, {card.total_memory / 2**30:.0f} GiB"
    machine = describe()
    return f"CPU: {machine.cpu}, {machine.cores} core{'s' if machine.cores > 1 else ''}"


def install(
    name: str = NAME, *, prefix: Path | None = None, device: str = "auto", threads: int | None = None
) -> tuple[Path, bool]:
    """Write the kernelspec `name` for the Python that runs this; one of that name that this made before is replaced.

    The kernel starts with OMP_NUM_THREADS and MKL_NUM_THREADS set to `threads`, by default the cores that this process
    may use and at most 4, and where `device` is "cpu" without any GPU.

    Parameters
    ----------
    name : str
        Of the kernel: a-z, 0-9, "-", "_" and, not in front, ".".
    prefix : Path, optional
        Of the environment to write to, ``PREFIX/share/jupyter/kernels``; None for the user's own folder.
    device : str
        "auto", "cpu" or "cuda".
    threads : int, optional
        Threads of a kernel.

    Returns
    -------
    tuple
        The folder of the kernelspec, and whether anything was written: False where the same was there already.

    Raises
    ------
    ValueError
        For a name that Jupyter does not take, another device, threads < 1, or where a kernelspec of that name starts
        another Python.
    ImportError
        Without ipykernel.
    """
    from ipykernel.kernelspec import install as write
    from jupyter_client.kernelspec import KernelSpecManager

    if not re.fullmatch(r"[a-z0-9_-][a-z0-9._-]*", name):  # not "..", which names another folder
        raise ValueError(f"A kernel's name is of a-z, 0-9, '-', '_' and, not in front, '.'; got {name!r}.")
    kind = pick_device(device).type
    count = min(describe().cores, MOST_THREADS) if threads is None else threads
    if count < 1:
        raise ValueError(f"A kernel needs at least one thread; got {threads}.")
    env = {"OMP_NUM_THREADS": str(count), "MKL_NUM_THREADS": str(count)}
    env |= {"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {}
    label = f"{name} ({kind.upper()})"
    manager = KernelSpecManager()
    root = manager.user_kernel_dir if prefix is None else prefix / "share" / "jupyter" / "kernels"
    folder = Path(root) / name
    before = _read(folder)
    starts = None if before is None else next(iter(before.get("argv", [])), "nothing")
    if starts not in (None, sys.executable):
        raise ValueError(f"The kernel {name} in {folder} starts {starts}. Choose another --name, or remove it.")
    where = None if prefix is None else str(prefix)
    write(manager, user=prefix is None, kernel_name=name, display_name=label, env=env, prefix=where)
    return folder, _read(folder) != before


def _read(folder: Path) -> dict[str, list[str]] | None:
    try:
        spec: dict[str, list[str]] = json.loads((folder / "kernel.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return spec
