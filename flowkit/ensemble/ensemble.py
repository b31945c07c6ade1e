"""Ensembles: configurations and series of many chains, with honest errors, saved and loaded whole."""

from __future__ import annotations

from typing import Any

import torch

from flowkit.actions.base import Action
from flowkit.ensemble import files, identity, layout
from flowkit.ensemble.diagnosis import vanishing
from flowkit.ensemble.files import MOST_BYTES, EnsembleError, PathLike
from flowkit.ensemble.means import Means
from flowkit.geometry.space import Space
from flowkit.observables import known


class Ensemble(Means):
    """Configurations of one theory in Monte Carlo time, and numbers measured on each.

    `run`, `Job` and `importance_sample` make them, and `load` reads them.

    Parameters
    ----------
    space : Space
        Of the fields.
    x : Tensor or None
        Fields ``[n, chains, *space.shape]`` on the CPU; None where a run kept none.
    series : dict of Tensor
        By name, float64 ``[n, chains]``: S, accept (the rate since the stored step before), logw and logq where they
        are known, and what was observed.
    action : Action, optional
        Gives the exact values to compare with.
    provenance : dict, optional
        Plain data: how the ensemble came about.
    weighted : bool
        False for chains of the theory, True for independent draws of a flow with weights exp(logw).

    Raises
    ------
    EnsembleError
        For wrong shapes, a missing S (and logw where weighted), complex series, NaN or infinity.

    Examples
    --------
    >>> import flowkit as fk
    >>> action = fk.Wilson(fk.links((4, 4), fk.U1()), beta=2.0)
    >>> ensemble = fk.run(fk.Heatbath(action), 300, chains=16, thermalise=20, rng=1)
    >>> ensemble
    Ensemble(300 stored steps x 16 chains of Links U1 on 4x4; S, accept, topological_charge)
    >>> ensemble.mean(fk.plaquette).within()                # within two errors of the exact value
    True
    """

    def reweight(self, action: Action) -> Ensemble:
        r"""The same configurations as an ensemble of a nearby theory, such as one with another coupling.

        Means, errors and notes are those of weighted values; `ess` says how near the theory is.

        Parameters
        ----------
        action : Action
            Of the same space.

        Raises
        ------
        EnsembleError
            Where no configurations were kept.
        ValueError
            For another space.

        Notes
        -----
        .. math:: w \propto e^{S(x) - S'(x)}, \qquad
                  \langle O \rangle' = \frac{\langle w O \rangle}{\langle w \rangle}

        Examples
        --------
        >>> import flowkit as fk
        >>> action = fk.Wilson(fk.links((4, 4), fk.U1()), beta=2.0)
        >>> ensemble = fk.run(fk.Heatbath(action), 500, chains=8, thermalise=20, rng=1)
        >>> nearby = ensemble.reweight(action.at(beta=2.1))
        >>> nearby.ess().value > 0.5, nearby.mean(fk.plaquette).within()
        (True, True)
        """
        if self.x is None:
            raise EnsembleError(
                "Reweighting needs the configurations, and this ensemble kept none; run with keep=True."
            )
        if action.space != self.space:
            raise ValueError(f"The action lives on {action.space}, this ensemble on {self.space}.")
        with torch.no_grad():
            S = torch.cat([action(piece) for piece in self._pieces()]).double().view(len(self), self.chains)
        logw = self.series["S"] - S + (self.series["logw"] if self.weighted else 0.0)
        dropped = ("logq", "logw_proposed", "accept", "dH")
        series = {name: one for name, one in self.series.items() if name not in dropped} | {"S": S, "logw": logw}
        about = {name: one for name, one in self.provenance.items() if name != "schwinger_dyson"}
        about |= identity.part(self.provenance, self.series["S"], range(len(self)))
        about |= {"action": repr(action), "reweighted_from": self.provenance.get("action"), "chained": self._chained}
        monitored = [one for one in map(known, self._zeros) if one is not None]
        about["vanishing"] = vanishing(action, monitored)
        return Ensemble(self.space, self.x, series, action=action, provenance=about, weighted=True)

    def save(self, path: PathLike) -> str:
        """Commit the ensemble to a folder; returns the name of the commit.

        A reader of the folder sees this ensemble or the one before, never a mixture. Other programs open the folder as
        a zarr v3 group (``xarray.open_zarr(path)``, ``zarr.open(path)``): an array for each series, those of a vector
        in one, and the configurations as the array "field", all ``[chain, step, ...]`` with named axes and units;
        provenance among the attributes; every chunk with its crc32c. What the commit before holds too takes no more
        room.

        Raises
        ------
        EnsembleError
            For a full disk, a second writer, or a folder that holds something else; what was saved before stays whole.
        """
        arrays, columns = layout.named_arrays(self.space, self.x, self.series)
        return files.write(path, self._about(columns), arrays)

    @classmethod
    def load(
        cls,
        path: PathLike,
        commit: str | None = None,
        action: Action | None = None,
        *,
        max_bytes: int = MOST_BYTES,
        keep: bool = True,
    ) -> Ensemble:
        """The ensemble that was saved in the folder `path`.

        Parameters
        ----------
        commit : str, optional
            Name of the commit; the last one by default.
        action : Action, optional
            Gives the exact values again; it has to be the one that the ensemble was made with.
        max_bytes : int
            Memory that the configurations may take, and the series as much.
        keep : bool
            Whether to read the configurations; without them they may take any room on disk.

        Raises
        ------
        EnsembleError
            Where anything is missing, damaged, or not what `save` writes. The message names the file and, where there
            is one, a commit that is whole.
        """
        with files.reading(path):
            attributes, arrays = files.read(path, commit, max_bytes, keep)
            x = torch.from_numpy(arrays[layout.FIELD]) if layout.FIELD in arrays else None
            series = layout.series_of(arrays, attributes["series"])
            space, provenance = Space.from_description(attributes["space"]), attributes["provenance"]
            weighted = attributes["weighted"]
            ensemble = cls(space, x, series, action=action, provenance=provenance, weighted=weighted)
        if action is not None and not action.identified:
            raise EnsembleError(
                f"{path} is of {provenance.get('action')}; {type(action).__name__} does not list all that it is made "
                "with in `couplings`, so that it cannot be told from others. Load without an action, or list them."
            )
        if action is not None and repr(action) != provenance.get("action"):
            raise EnsembleError(f"{path} holds an ensemble of {provenance.get('action')}; {action!r} was given.")
        return ensemble

    def to_xarray(self) -> Any:
        """The ensemble as an xarray Dataset, as `xarray.open_zarr` reads what `save` wrote.

        Returns
        -------
        xarray.Dataset
            With the dimensions chain, step and those of the fields; it shares memory where it can.

        Raises
        ------
        ImportError
            Without xarray, which the extra "xarray" installs.

        Examples
        --------
        >>> import flowkit as fk
        >>> ensemble = fk.run(fk.Heatbath(fk.Wilson(fk.links((4, 4), fk.U1()), beta=2.0)), 10, chains=2, rng=1)
        >>> dict(ensemble.to_xarray().field.sizes)
        {'chain': 2, 'step': 10, 'mu': 2, 'x': 4, 'y': 4}
        """
        try:
            import xarray
        except ImportError as error:
            raise ImportError("to_xarray needs xarray: pip install 'lattice-flowkit[xarray]'.") from error
        arrays, columns = layout.named_arrays(self.space, self.x, self.series)
        data = {name: (one.dimensions, one.rows.swapaxes(0, 1), one.attributes) for name, one in arrays.items()}
        return xarray.Dataset(data, attrs=files.headed(self._about(columns)))

    def _about(self, columns: dict[str, list[str]]) -> dict[str, Any]:
        """The attributes of its group."""
        about = {"weighted": self.weighted, "provenance": self.provenance}
        return {"space": self.space.describe(), "series": columns, **about}

    def __repr__(self) -> str:
        what = "weighted draws" if self.weighted else f"stored steps x {self.chains} chains"
        kept = "" if self.x is not None else "; no configurations"
        bad = self.provenance.get("invalid", 0)
        if self.weighted and "monopoles" in self.series:
            kept += f"; monopoles in {int((self.series['monopoles'] > 0.5).sum())} draws"
        return (
            f"Ensemble({len(self)} {what} of {self.space}; {', '.join(self.series)}{kept}"
            f"{f'; {bad} invalid proposals' if bad else ''})"
        )
