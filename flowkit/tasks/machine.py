"""Where a run took place, and which device it takes. Imports torch when asked, so that `flowkit --help` is quick."""

import os
import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    import torch


class Machine(BaseModel):
    """A computer as a run sees it; `describe` returns this one.

    Parameters
    ----------
    cpu, system, python, torch : str
        Name of the processor, operating system, versions.
    cores, threads : int
        Cores that the process may use, and threads that torch takes.
    memory_gib : float or None
        Memory in GiB; None where the system does not tell.
    gpu : str or None
        Name of the GPU that torch uses, if any.

    Examples
    --------
    >>> from flowkit.tasks.machine import Machine
    >>> print(Machine(cpu="A CPU", cores=8, memory_gib=31.2, gpu=None, system="Linux",
    ...               python="3.12", torch="2.6", threads=4))
    A CPU, 8 cores, 4 threads, 31 GiB; torch 2.6
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cpu: str
    cores: int
    memory_gib: float | None
    gpu: str | None
    system: str
    python: str
    torch: str
    threads: int

    def __str__(self) -> str:
        memory = "" if self.memory_gib is None else f", {self.memory_gib:.0f} GiB"
        gpu = f", {self.gpu}" if self.gpu else ""
        return f"{self.cpu}, {self.cores} cores, {self.threads} threads{memory}{gpu}; torch {self.torch}"


def describe() -> Machine:
    """This machine, with the cores this process may use and the threads torch takes."""
    import torch

    return Machine(
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_gib=_memory(),
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        torch=str(torch.__version__),
        threads=torch.get_num_threads(),
    )


def pick_device(name: str) -> "torch.device":
    """The device of this name.

    Parameters
    ----------
    name : str
        "auto" (a CUDA GPU where there is one, otherwise the CPU), "cpu" or "cuda".

    Returns
    -------
    torch.device
        The device.

    Raises
    ------
    ValueError
        For another name, or for "cuda" where torch finds no GPU.

    Examples
    --------
    >>> from flowkit.tasks.machine import pick_device
    >>> pick_device("cpu")
    device(type='cpu')
    """
    import torch

    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"A device is auto, cpu or cuda; got {name!r}.")
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise ValueError("The device cuda was asked for; torch finds no CUDA GPU on this machine.")
    return torch.device("cuda" if there and name != "cpu" else "cpu")


def _cpu() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def _memory() -> float | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf
        return None
