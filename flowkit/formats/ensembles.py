"""Ensembles from files of other codes, and to them."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from flowkit.actions import Action
from flowkit.checks import Bytes, Count, checked
from flowkit.ensemble.ensemble import Ensemble
from flowkit.ensemble.files import MOST_BYTES, PathLike
from flowkit.formats.errors import FormatError
from flowkit.formats.files import Format, read, write


@checked
def read_ensemble(
    paths: Sequence[PathLike],
    action: Action,
    *,
    chains: Count = 1,
    every: Count = 1,
    max_bytes: Bytes = MOST_BYTES,
) -> Ensemble:
    """An ensemble of the configurations in NERSC or ILDG files.

    Parameters
    ----------
    paths : sequence of path
        One file a configuration, in Monte Carlo time; of several chains all of the first one before the second one.
    action : Action
        The theory that they were sampled from, on the lattice of the files; it gives the series S.
    chains : int
        Independent chains, of equally many files each.
    every : int
        Updates between two files, the unit of what the ensemble says of tau_int.
    max_bytes : int
        Of all files together.

    Returns
    -------
    Ensemble
        ``[n, chains]`` configurations in the precision of the files; means, errors and derived quantities follow.

    Raises
    ------
    FormatError
        Where a file cannot be read, files differ in lattice or precision, or are not equally many for each chain.

    Examples
    --------
    >>> import tempfile, flowkit as fk
    >>> action = fk.Wilson(fk.links((2, 2, 2, 2), fk.SUN(3)), beta=5.0)
    >>> ensemble = fk.run(fk.Heatbath(action), 6, chains=2, thermalise=10, rng=1)
    >>> paths = fk.formats.write_ensemble(ensemble, tempfile.mkdtemp(), format="ildg")
    >>> again = fk.formats.read_ensemble(paths, action, chains=2)
    >>> again
    Ensemble(6 stored steps x 2 chains of Links SU3 on 2x2x2x2; S)
    >>> bool((again.x == ensemble.x).all())
    True
    """
    names = [os.fspath(path) for path in paths]
    if not names or len(names) % chains:
        raise FormatError(f"{chains} chains take equally many files each, one or more; got {len(names)} files.")
    fields, left = list[Tensor](), max_bytes
    for name in names:
        found = read(name, max_bytes=max(1, left))
        if found.space != action.space or (fields and found.x.dtype != fields[0].dtype):
            kind = f"{found.space} in {found.x.dtype}"
            before = f", in {fields[0].dtype}" if fields else ""
            raise FormatError(f"{name} has {kind}; the ensemble is of {action.space}{before}.")
        left -= found.x.nbytes
        fields.append(found.x)
    with torch.no_grad():
        S = torch.cat([action(x) for x in fields]).double().view(chains, -1).T.contiguous()
    x = torch.cat(fields).view(chains, -1, *action.space.shape).transpose(0, 1).contiguous()
    files = [Path(name).name for name in names]
    about = {"action": repr(action), "sampler": {"sampler": "files"}, "files": files, "every": every}
    return Ensemble(action.space, x, {"S": S}, action=action, provenance=about)


@checked
def write_ensemble(
    ensemble: Ensemble,
    folder: PathLike,
    *,
    format: Format = "nersc",  # noqa: A002
    name: str = "u",
    about: Mapping[str, str] | None = None,
    **settings: object,
) -> list[Path]:
    """Write every configuration of an ensemble as a NERSC or ILDG file.

    Parameters
    ----------
    ensemble : Ensemble
        Chains of SU(3) in four dimensions that kept their configurations.
    folder : path
        Where the files go; it is made where there is none.
    format : str
        "nersc" or "ildg".
    name : str
        Files are called NAME.CHAIN.STEP.FORMAT, so that their alphabetical order is what `read_ensemble` takes.
    about, **settings
        As for `write`: precision, rows, byteorder.

    Returns
    -------
    list of Path

    Raises
    ------
    FormatError
        For weighted ensembles, whose weights the formats cannot hold, without configurations, and as `write`.

    Examples
    --------
    >>> import tempfile, flowkit as fk
    >>> action = fk.Wilson(fk.links((2, 2, 2, 2), fk.SUN(3)), beta=5.0)
    >>> ensemble = fk.run(fk.Heatbath(action), 2, chains=2, thermalise=10, rng=1)
    >>> [path.name for path in fk.formats.write_ensemble(ensemble, tempfile.mkdtemp(), precision=32)]
    ['u.00.000000.nersc', 'u.00.000001.nersc', 'u.01.000000.nersc', 'u.01.000001.nersc']
    """
    if ensemble.weighted:
        raise FormatError("NERSC and ILDG hold no weights; a weighted ensemble would be read as one without.")
    if ensemble.x is None:
        raise FormatError("This ensemble kept no configurations; run with keep=True.")
    if "/" in name or not name.isprintable():
        raise FormatError(f"A name of files has no folder; got {name!r:.80}.")
    target, written = Path(folder), []
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FormatError(f"{target}: {error.strerror or error}.") from error
    for chain in range(ensemble.chains):
        for step in range(len(ensemble)):
            path = target / f"{name}.{chain:02d}.{step:06d}.{format}"
            number = {"SEQUENCE_NUMBER": str(step)} if format == "nersc" else {"step": str(step)}
            one = ensemble.x[step, chain][None]
            write(path, ensemble.space, one, format=format, about=number | dict(about or {}), **settings)  # type: ignore[arg-type]
            written.append(path)
    return written
