"""What the documentation shows as code runs, and its pages hold what they promise."""

import re
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

import flowkit

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
MADE = {"figures.md", "api.md", "lessons.md", "panels.md", "zoo.md"}
"""Pages that the build writes."""
WRITTEN = [path for room in ("", "theory", "decisions") for path in sorted((DOCS / room).glob("*.md"))]
TEXTS = [path for path in [*WRITTEN, ROOT / "README.md"] if path.name not in MADE]
PAGES = ["howto", "extending", "own_coupling", "own_conditional", "own_group"]
COMPUTED = "scaling"


def blocks(path):
    return re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("name", PAGES)
def test_code_on_a_page_runs(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    scope = {"__name__": f"docs_{name}"}
    for block in blocks(DOCS / f"{name}.md"):
        exec(compile(block, f"{name}.md", "exec"), scope)
    if name == "howto":
        assert "exact" in capsys.readouterr().out


def test_the_numbers_of_a_computed_page_are_those_of_its_formulas(capsys):
    text, scope = (DOCS / f"{COMPUTED}.md").read_text(encoding="utf-8"), {}
    pairs = re.findall(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", text, re.DOTALL)
    assert len(pairs) > 5
    for code, said in pairs:
        exec(compile(code, f"{COMPUTED}.md", "exec"), scope)
        assert capsys.readouterr().out == said


@pytest.mark.parametrize(("name", "most"), [("own_coupling", 40), ("own_conditional", 40), ("own_group", 50)])
def test_an_own_piece_is_short(name, most):
    lines = [line for block in blocks(DOCS / f"{name}.md") for line in block.splitlines() if line.strip()]
    assert len(lines) <= most


def test_names_of_the_library_exist():
    for path in TEXTS:
        for name in re.findall(r"\bfk\.([\w.]*\w)", path.read_text(encoding="utf-8")):
            first, *more = name.split(".")
            if "NAME" in (first, *more) or first == "panels":  # the panels need the extra lab
                continue
            assert first in flowkit.__all__, f"{path.name} speaks of fk.{name}"
            thing = getattr(flowkit, first)
            for part in more:
                assert hasattr(thing, part), f"{path.name} speaks of fk.{name}"
                thing = getattr(thing, part)


def test_classes_that_the_theory_names_exist():
    rooms = [room for room in flowkit._MODULES if room not in ("panels", "testing")]  # panels need the extra lab
    known = {*flowkit.__all__, *(name for room in rooms for name in dir(getattr(flowkit, room)))}
    for path in [*DOCS.glob("theory/*.md"), DOCS / "limits.md"]:
        for name in re.findall(r"`([A-Z]\w*[a-z]\w*)", path.read_text(encoding="utf-8")):
            assert name in known, f"{path.name} speaks of {name}"


def test_decisions_are_records_in_order():
    files = sorted((DOCS / "decisions").glob("*.md"))
    index = (DOCS / "decisions.md").read_text(encoding="utf-8")
    for number, path in enumerate(files, 1):
        text = path.read_text(encoding="utf-8")
        assert re.match(rf"# {number:04d} \S", text), path.name
        assert path.name.startswith(f"{number:04d}-"), path.name
        assert re.findall(r"^\*\*(\w+)\.\*\* ", text, re.MULTILINE) == [
            "Decision",
            "Alternatives",
            "Measurement",
            "Status",
        ]
        assert f"](decisions/{path.name})" in index, f"{path.name} is not on the index page"
        assert f"\ndecisions/{path.stem}\n" in index, f"{path.name} is not in the table of contents"


def test_the_page_of_panels_has_every_panel(monkeypatch):
    panels = pytest.importorskip("flowkit.panels", reason='the panels need the extra "lab"')
    monkeypatch.syspath_prepend(str(DOCS))
    assert {*import_module("gallery").SHOWS, "Panel"} == set(panels.__all__)


def test_every_room_has_its_place_on_the_page_of_imports():
    said = (DOCS / "extending.md").read_text(encoding="utf-8").split("## Imports go one way")[1]
    rooms = {path.stem for path in Path(flowkit.__file__).parent.iterdir() if path.suffix == ".py" or path.is_dir()}
    rooms = {room for room in rooms if not room.startswith(("_", ".")) and room != "testing"}
    assert rooms - set(re.findall(r"\w+", said)) == set()


def test_links_between_pages_lead_somewhere():
    for path in TEXTS:
        for target in re.findall(r"\]\(([\w./-]+\.md)\)", path.read_text(encoding="utf-8")):
            assert target in MADE or (path.parent / target).is_file(), f"{path.name}: {target}"


def test_every_public_name_is_documented(monkeypatch):
    if find_spec("anywidget") is None:
        pytest.skip("the panels need the extra lab")
    monkeypatch.syspath_prepend(str(DOCS))
    sys.modules.pop("api", None)
    api = import_module("api")

    pages = api.pages()
    text = "\n".join([*pages.values(), api.index(pages)])
    for name in flowkit.__all__:
        known = f":: flowkit.{name}\n" in text or f"fk.{name}" in text or name == "__version__"
        assert known, f"{name} is not on the pages of public names"
    entries = re.findall(r"^\.\. auto\w+:: (\S+)", text, re.MULTILINE)
    assert len(entries) == len(set(entries))
    for name in flowkit._HOME:
        assert f"flowkit.{name}" in entries
    for room in flowkit._ROOMS.split():
        for name in getattr(flowkit, room).__all__ if room != "panels" else ():
            thing = getattr(getattr(flowkit, room), name)
            known = not api.ours(thing) or any(api.found(entry) is thing for entry in entries)
            assert known, f"{room}.{name} is on no page"


def test_charts_have_points_and_pictures_of_the_readme_exist(monkeypatch):
    pytest.importorskip("matplotlib", reason='the charts need the extra "lab"')
    monkeypatch.syspath_prepend(str(DOCS))
    charts = import_module("charts")
    assert all(len(found) >= 4 for found in charts.effective().values())
    assert sum(p.published is not None for found in charts.effective().values() for p in found) >= 6
    for picture in re.findall(r"!\[.*?\]\(([^)]+)\)", (ROOT / "README.md").read_text(encoding="utf-8")):
        assert (ROOT / picture).is_file(), picture


def test_names_that_stand_as_code_become_links(monkeypatch):
    nodes = pytest.importorskip("docutils.nodes", reason='the pages need the extra "docs"')
    utils = pytest.importorskip("docutils.utils")
    pytest.importorskip("sphinx")
    monkeypatch.syspath_prepend(str(DOCS))
    add = import_module("links").add
    paths = {"flowkit.Trainer": "train", "flowkit.Trainer.fit": "train", "flowkit.stats.ess": "stats"}
    objects = {path: SimpleNamespace(docname=f"api/{page}", node_id=path) for path, page in paths.items()}
    app = SimpleNamespace(
        env=SimpleNamespace(domains={"py": SimpleNamespace(data={"objects": objects})}),
        builder=SimpleNamespace(get_relative_uri=lambda page, to: f"{to}.html"),
    )
    document = utils.new_document("page")
    for text in ("fk.Trainer(flow, action)", "Trainer.fit", "ess", "fk.stats.ess", "flow"):
        document += nodes.paragraph("", "", nodes.literal("", text))
    add(app, document, "faq")
    found = {node.astext(): node["refuri"] for node in document.findall(nodes.reference)}
    assert found == {
        "fk.Trainer(flow, action)": "api/train.html#flowkit.Trainer",
        "Trainer.fit": "api/train.html#flowkit.Trainer.fit",
        "fk.stats.ess": "api/stats.html#flowkit.stats.ess",
    }


def test_formulas_are_balanced():
    for path in DOCS.glob("theory/*.md"):
        text = path.read_text(encoding="utf-8")
        assert text.count("$$") % 2 == 0
        assert text.replace("$$", "").count("$") % 2 == 0, path.name


@pytest.fixture
def figures(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS))
    sys.modules.pop("figures", None)
    return import_module("figures")


def test_every_record_has_its_commit_and_date(figures):
    from flowkit.studies.figure import commit_of_checkout
    from flowkit.studies.figures import FIGURES

    commit = commit_of_checkout()
    assert commit is None or re.fullmatch(r"[0-9a-f]{40}(-dirty)?", commit)
    for path in (DOCS / "records").glob("*.json"):
        record = figures.read(path)  # which refuses one without
        assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", record.commit)
        assert f"Recorded on {record.date} at commit {record.commit[:10]}." in figures.section(
            FIGURES[path.stem], record
        )


def test_a_record_without_a_commit_and_a_quick_one_are_refused(figures, tmp_path):
    whole = (DOCS / "records" / "u1-8x8.json").read_text(encoding="utf-8")
    path = tmp_path / "u1-8x8.json"
    for old, new, message in (
        ('"commit": "', '"commit": null, "was": "', "extra"),
        (re.search(r'"commit": "\w+"', whole)[0], '"commit": null', "says on which commit and date it ran nowhere"),
        ('"quick": false', '"quick": true', "a quick run, which proves nothing"),
    ):
        path.write_text(whole.replace(old, new))
        with pytest.raises(ValueError, match=message):
            figures.read(path)


def test_a_record_older_than_its_code_is_marked(figures, monkeypatch):
    from flowkit.studies.figures import FIGURES

    figure, record = FIGURES["u1-8x8"], figures.read(DOCS / "records" / "u1-8x8.json")
    assert {"studies/u1.py", "studies/rows.py", "transforms", "flow.py", "kernels"} <= set(figures.exercised(figure))
    assert "panels" not in figures.exercised(figure)
    there = figures.git("rev-parse", "HEAD")
    if there is not None:
        assert figures.mark(figure, record.model_copy(update={"commit": there})) == ""
        first = figures.git("rev-list", "--max-parents=0", "HEAD").split()[0]
        assert "commits since have changed" in figures.mark(figure, record.model_copy(update={"commit": first}))
    # Two commits as git would tell them, and then no history, as in a shallow clone or an installed package.
    log = "/\n\nflowkit/flow.py\nflowkit/transforms/base.py\n/\n\nflowkit/flow.py\nflowkit/studies/u1.py"
    monkeypatch.setattr(figures, "git", lambda *words: log if words[0] == "log" else "")
    marked = "**Older than the code it exercises**: 2 commits since have changed flow.py (2), "
    assert figures.mark(figure, record).startswith(marked)
    assert marked in figures.section(figure, record)
    monkeypatch.setattr(figures, "git", lambda *words: None)
    assert figures.mark(figure, record) == ""
    assert "Recorded on" in figures.section(figure, record)
