"""How long the notebooks take at quick size."""

import os
import subprocess
import sys
import time
from importlib.util import find_spec

from flowkit.studies.rows import Row
from flowkit.tasks.lessons import bundled

QUICK = {"FLOWKIT_QUICK": "1", "FLOWKIT_COMPILE": "0", "OMP_NUM_THREADS": "1"}


def notebooks_cost(quick: bool = False, *, most: float = 600.0) -> list[Row]:
    """Seconds that nbval takes to run each notebook at quick size, one after the other, on one thread and without
    compiled splines, and of all, which may be `most`; what they print is not compared, for that is a test's work.
    """
    label = "all notebooks under nbval, seconds"
    if find_spec("nbval") is None:
        return [{"label": label, "value": "not measured: nbval is not installed"}]
    rows: list[Row] = []
    for path in sorted(bundled().glob("*.ipynb"))[: 1 if quick else None]:
        command = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-current-env", "-q", "-p", "no:cacheprovider"]
        begun = time.perf_counter()
        ran = subprocess.run(  # noqa: S603 (our own notebook)
            [*command, path.name], cwd=path.parent, env={**os.environ, **QUICK}, capture_output=True, text=True
        )
        if ran.returncode:
            raise RuntimeError(f"{path.name} failed under nbval:\n{ran.stdout[-2000:]}")
        rows.append({"label": f"{path.stem}, seconds", "value": time.perf_counter() - begun})
    total = sum(row["value"] for row in rows)
    goal: Row = {} if quick else {"goal": f"<= {most:g}", "reached": total <= most}
    return [*rows, {"label": label, "value": total} | goal]
