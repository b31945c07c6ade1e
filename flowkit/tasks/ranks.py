"""Several processes that train one flow: their numbers, and the sums that they share.

Without `joined` there is one process, and each function returns what it was given: training has one code path.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from flowkit.checks import Positive, checked

T = TypeVar("T")


class RanksError(RuntimeError):
    """One of several processes was lost, and with it the run.

    Examples
    --------
    >>> from flowkit.train import RanksError
    >>> print(RanksError("Rank 0 of 2 lost another rank."))
    Rank 0 of 2 lost another rank.
    """


class Ranks(NamedTuple):
    """Which process this is, of how many.

    Attributes
    ----------
    rank : int
        From 0 to world - 1; rank 0 writes checkpoints.
    world : int
        Number of processes that work together.

    Examples
    --------
    >>> import flowkit as fk
    >>> with fk.train.joined() as ranks:                    # not under torchrun
    ...     ranks
    Ranks(rank=0, world=1)
    """

    rank: int
    world: int

    def part(self, n: int) -> slice:
        """This rank's rows of n, a multiple of `world`."""
        each = n // self.world
        return slice(self.rank * each, (self.rank + 1) * each)


ALONE = Ranks(0, 1)
_joined = ALONE
_patience = 0.0


def ranks() -> Ranks:
    """This process among those that `joined` has put together."""
    return _joined


@contextlib.contextmanager
@checked
def joined(patience: Positive = 600.0) -> Iterator[Ranks]:
    """The processes that torchrun has started work together within it; without torchrun it changes nothing.

    Sums go through gloo on CPUs and through nccl between GPUs, of which each rank takes the one of its local number.

    Parameters
    ----------
    patience : float
        Seconds that a rank waits for the others before it gives them up.

    Yields
    ------
    Ranks
        Which process this is, of how many.

    Notes
    -----
    `Trainer` divides each batch among the ranks, and `run` its groups of chains. Both give the same numbers on any
    number of ranks: training to rounding, chains bit for bit.

    Examples
    --------
    >>> import flowkit as fk
    >>> with fk.train.joined() as ranks:
    ...     ensemble = fk.run(fk.Heatbath(fk.Wilson(fk.links((4, 4), fk.U1()), beta=1.0)), 10, processes=1, rng=1)
    ...     if ranks.rank == 0:
    ...         print(ensemble.chains)
    16
    """
    global _joined, _patience
    if "WORLD_SIZE" not in os.environ or _joined.world > 1:
        yield _joined
        return
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    backend = "cpu:gloo,cuda:nccl" if cuda else "gloo"
    limit = timedelta(seconds=patience)
    store, rank, world = next(rendezvous("env://", timeout=limit))
    # The store of torchrun outlives a restart, with the addresses of those that died.
    store = PrefixStore(f"attempt-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=limit)
    _joined, _patience = Ranks(rank, world), patience
    try:
        yield _joined
    finally:
        _joined = ALONE
        with contextlib.suppress(RuntimeError):  # where a rank was lost, there is nothing left to close
            dist.destroy_process_group()


def _with_all(work: Callable[[], T]) -> T:
    """A sum or exchange in which every rank takes part; RanksError where one does not."""
    try:
        return work()
    except RuntimeError as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise RanksError(
            f"Rank {_joined.rank} of {_joined.world} lost another rank, or waited {_patience:g} s for it in vain. The "
            f"run ends here; its last checkpoint is whole, and the same command goes on from there. ({first:.160})"
        ) from error


def summed(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The sum over ranks of each tensor, in one exchange; the same bits on every rank."""
    if _joined.world == 1:
        return list(tensors)
    flat = torch.cat([t.detach().reshape(-1) for t in tensors])
    _with_all(lambda: dist.all_reduce(flat))
    parts = torch.split(flat, [t.numel() for t in tensors])
    return [part.view(t.shape).to(t.dtype) for part, t in zip(parts, tensors, strict=True)]


def mean(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The mean over ranks of each tensor."""
    world = _joined.world
    return list(tensors) if world == 1 else [t / world for t in summed(tensors)]


def whole(part: Tensor) -> Tensor:
    """The rows of all ranks ``[world * n, ...]``, each of which has n of them; the gradient is that of the own rows.

    The sum over ranks of the gradients of a function of it is the gradient of that function of the whole batch.
    """
    if _joined.world == 1:
        return part
    own = part.detach().contiguous()
    parts = [torch.empty_like(own) for _ in range(_joined.world)]
    _with_all(lambda: dist.all_gather(parts, own))
    parts[_joined.rank] = part
    return torch.cat(parts)


def any_of(*flags: bool) -> list[bool]:
    """For each flag whether one of the ranks raised it. On the CPU, also beside GPUs: no device is waited for."""
    if _joined.world == 1:
        return list(flags)
    return [bool(count) for count in summed([torch.tensor(flags, dtype=torch.int32)])[0].tolist()]


def equal(tensors: Sequence[Tensor]) -> None:
    """Copy the numbers of rank 0 into the tensors of the others."""
    for tensor in tensors if _joined.world > 1 else ():
        with torch.no_grad():
            _with_all(lambda one=tensor: dist.broadcast(one.data, 0))  # type: ignore[misc]


def by_first(work: Callable[[], str], failure: type[Exception]) -> str:
    """What rank 0 says of work that it does alone, such as writing, while the others wait; each raises its failure."""
    if _joined.world == 1:
        return work()
    said: list[Any] = [None, None]
    error: Exception | None = None
    if _joined.rank == 0:
        try:
            said[0] = work()
        except Exception as caught:
            error, said[1] = caught, str(caught)
    _with_all(lambda: dist.broadcast_object_list(said, 0))
    if error is not None:
        raise error
    if said[1] is not None:
        raise failure(said[1])
    return str(said[0])


def exchanged(mine: T) -> list[T]:
    """What each rank has, in their order."""
    if _joined.world == 1:
        return [mine]
    found: list[Any] = [None] * _joined.world
    _with_all(lambda: dist.all_gather_object(found, mine))
    return found
