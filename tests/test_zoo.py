"""Trained flows that ship with the package: each draws as its card says, and every mean is what it is known to be."""

import json
import math
import re

import pytest
import torch
from typer.testing import CliRunner

import flowkit as fk
from flowkit.production.cli import app
from flowkit.storage import CheckpointError
from flowkit.studies import zoo as study
from flowkit.studies.zoo_models import ENTRIES
from flowkit.zoo.shelf import SHIPPED

NAMES = fk.zoo.names()
MOST_BYTES = 2 * 10**6
SECONDS = 0.7
"""Of processor time for the draws of one flow."""


def call(*arguments):
    return CliRunner().invoke(app, list(arguments))


def test_the_flows_that_ship_are_those_of_the_list():
    assert set(NAMES) == set(ENTRIES)
    for name, entry in ENTRIES.items():
        card = fk.zoo.card(name)
        assert card.theory == entry.theory
        assert card.construction == entry.construction
        assert card.training.method == entry.training.method
        assert dict(card.training.settings) == dict(entry.training.settings)
        assert [one.lattice for one in card.measured] == [*entry.lattices]
        assert len(card.measured) == 3
        assert card.training.seconds > 0
        assert re.fullmatch(r"[0-9a-f]{40}", card.training.commit)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_says_field_dimension_and_couplings(name):
    action = fk.zoo.card(name).theory.on()
    field = "phi4" if action.space.kind == "sites" else action.space.group.name.lower()
    couplings = [f"{key}{getattr(action, key):g}" for key in action.couplings]
    assert name == "-".join([field, f"{action.space.ndim}d", *couplings])


def test_all_files_together_are_small():
    files = [*SHIPPED.iterdir()]
    assert sum(file.stat().st_size for file in files) < MOST_BYTES
    assert {file.name for file in files} == {f"{name}.{kind}" for name in NAMES for kind in ("json", "safetensors")}


@pytest.mark.parametrize("name", NAMES)
def test_draws_are_as_the_card_says(name):
    """The effective sample size within its errors, means within four errors of what is known of them."""
    card = fk.zoo.card(name)
    said = card.measured[0]
    flow, action = fk.pretrained(name), card.theory.on()
    n = int(min(4096, max(256, 1e3 * SECONDS / said.milliseconds)))
    draws = fk.importance_sample(flow, action, n, rng=7, chunk=256, observe=study.observables(action), keep=False)
    ess = draws.ess()
    # Single precision and the few largest weights leave some of the spread out.
    assert abs(ess.value - said.ess) <= 4 * math.hypot(ess.error, said.ess_error) + 0.03 * (1 - said.ess) + 1e-6
    for known in said.means:
        if known.known is None:
            continue
        mean = draws.log_z() if known.name == "log_z" else draws.mean(known.name)
        assert abs(mean.value - known.known) <= 4 * math.hypot(mean.error, known.known_error), known.name
        if known.known_from == "exact":
            assert mean.exact == pytest.approx(known.known, rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_the_numbers_of_a_card_agree_with_what_is_known(name):
    card = fk.zoo.card(name)
    pulls = [mean.pull for one in card.measured for mean in one.means if mean.pull is not None]
    assert pulls
    assert all(abs(pull) < 4 for pull in pulls)
    for covered in card.coverage:
        assert abs(covered.share - 0.683) < 3.5 * covered.error, covered.observable


def test_another_lattice_takes_the_same_weights():
    flow = fk.pretrained("su2-2d-beta2.2", lattice=(8, 8))
    assert flow.space == fk.links((8, 8), fk.SUN(2))
    draws = fk.importance_sample(flow, fk.Wilson(flow.space, beta=2.2), 256, rng=1, observe=[fk.plaquette])
    assert draws.ess().value > 0.99
    assert draws.mean(fk.plaquette).within(sigmas=4)


def test_an_unknown_name_is_answered_by_those_like_it(tmp_path):
    with pytest.raises(ValueError, match=r"^There is no trained flow called 'su3-2d-beta7'\. Did you mean su3-2d-beta"):
        fk.pretrained("su3-2d-beta7")
    with pytest.raises(ValueError, match=rf"called 'zzz'\. flowkit zoo lists all {len(NAMES)}\.$"):
        fk.pretrained("zzz")
    with pytest.raises(ValueError, match="There is no trained flow called 'u1-2d-beta2'"):
        fk.pretrained("u1-2d-beta2", folder=tmp_path)
    with pytest.raises(ValueError, match=r"no trained flow called '\.\./x'"):
        fk.pretrained("../x")


def test_damaged_files_are_refused(tmp_path):
    name = "u1-2d-beta2"
    flow, card = fk.pretrained(name), fk.zoo.card(name)
    fk.zoo.put(flow, card, tmp_path)
    assert fk.zoo.card(name, tmp_path) == card
    weights, text = tmp_path / f"{name}.safetensors", tmp_path / f"{name}.json"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(CheckpointError, match="is not the file of its card: its SHA-256 is "):
        fk.pretrained(name, folder=tmp_path)
    weights.unlink()
    with pytest.raises(CheckpointError, match="could not be read: No such file"):
        fk.pretrained(name, folder=tmp_path)
    text.write_text(text.read_text().replace('"parameters"', '"numbers"'))
    with pytest.raises(ValueError, match="is no card: parameters: Field required"):
        fk.zoo.card(name, tmp_path)


def test_weights_in_a_file(tmp_path):
    space, file = fk.sites((4, 4)), tmp_path / "weights.safetensors"
    flow = fk.Flow(fk.Normal(space), fk.CheckerboardCoupling(space, 0, hidden=(3,)))
    fk.storage.save_weights(flow, file)
    other = fk.Flow(fk.Normal(space), fk.CheckerboardCoupling(space, 0, hidden=(3,)))
    assert fk.storage.load_weights(other, file) is other
    assert all(torch.equal(a, b) for a, b in zip(flow.parameters(), other.parameters(), strict=True))
    with pytest.raises(CheckpointError, match="another flow: "):
        fk.storage.load_weights(fk.Flow(fk.Normal(space), fk.CheckerboardCoupling(space, 0, hidden=(4,))), file)
    before = file.read_bytes()
    next(flow.parameters()).data.fill_(math.nan)
    with pytest.raises(CheckpointError, match=r"is to hold real, finite weights; not so are transform\."):
        fk.storage.save_weights(flow, file)
    assert file.read_bytes() == before
    file.write_bytes(b"no tensors")
    with pytest.raises(CheckpointError, match="is no safetensors file: its header says "):
        fk.storage.load_weights(other, file)
    with pytest.raises(TypeError, match=r"save_weights needs a flow, then a file; got int\."):
        fk.storage.save_weights(1, file)


def test_the_command_lists_and_shows():
    listed = call("zoo")
    assert listed.exit_code == 0
    assert re.findall(r"^(\S+-[234]d-\S+)", listed.output, re.MULTILINE) == NAMES
    assert [one["theory"]["group"] for one in json.loads(call("zoo", "--json").output)["flows"]][-1] == "U1"
    shown = call("zoo", "su3-2d-beta6")
    for words in (
        "Wilson(Links SU3 on 16x16; beta=6.0)",
        "level by level",
        "coverage of",
        "again: flowkit zoo --train",
    ):
        assert words in shown.output
    wrong = call("zoo", "su3-2d-beta66")
    assert wrong.exit_code == 2
    assert "Did you mean su3-2d-beta6" in wrong.output
    assert call("zoo", "--train").exit_code == 2
    assert "No training is known of a flow called 'u2'" in call("zoo", "--train", "u2").output


def test_the_command_trains_again(tmp_path, monkeypatch):
    name = "u1-2d-beta2"
    entry = ENTRIES[name]
    settings = {**entry.training.settings, "batch": 512}
    short = entry._replace(
        training=entry.training.model_copy(update={"settings": settings}), lattices=((16, 16),), draws=(2560,)
    )
    monkeypatch.setitem(ENTRIES, name, short)
    done = call("zoo", "--train", name, "--out", str(tmp_path))
    assert done.exit_code == 0, done.output
    card = fk.zoo.card(name, tmp_path)
    assert card.measured[0].ess > 0.999
    assert {one.observable for one in card.coverage} == {"plaquette", "wilson_loop_2x2", "charge_squared"}
    action = card.theory.on()
    draws = fk.importance_sample(fk.pretrained(name, folder=tmp_path), action, 512, rng=1)
    assert draws.ess().value > 0.999


def test_a_photon_flow_is_trained_without_monopoles_and_kept_with_them(monkeypatch):
    entry = ENTRIES["u1-3d-beta3"]
    settings = {**entry.training.settings, "steps": 2, "batch": 8}
    short = entry._replace(training=entry.training.model_copy(update={"settings": settings}))
    before = entry.construction.flow(entry.theory.space)
    flow = study._train(short, entry.theory.on())
    assert flow.describe()["lifts"]["prior"] == before.describe()["lifts"]["prior"]
    assert not all(torch.equal(a, b) for a, b in zip(flow.parameters(), before.parameters(), strict=True))
