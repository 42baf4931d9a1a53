"""Every notebook runs from its reviewed source, ends in its assertions, and is committed executed."""

from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "notebooks"
SOURCES = sorted(FOLDER.glob("[0-9]*.py"))


def test_there_are_notebooks():
    assert SOURCES


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("source", SOURCES, ids=lambda p: p.stem)
def test_runs(source, tmp_path, monkeypatch):
    jupytext = pytest.importorskip("jupytext")
    nbclient = pytest.importorskip("nbclient")
    root = FOLDER.parent
    monkeypatch.setenv("PYTHONPATH", str(root / ".dev"))
    book = jupytext.read(source)
    resources = {"metadata": {"path": tmp_path}}
    nbclient.NotebookClient(book, timeout=300, kernel_name="python3", resources=resources).execute()
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert "assert" in code[-1].source


@pytest.mark.parametrize("source", SOURCES, ids=lambda p: p.stem)
def test_committed_executed_and_in_step(source):
    jupytext = pytest.importorskip("jupytext")
    executed = jupytext.read(source.with_suffix(".ipynb"))
    assert [c.source for c in executed.cells] == [c.source for c in jupytext.read(source).cells]
    code = [cell for cell in executed.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    assert source.with_suffix(".ipynb").stat().st_size < 1_000_000
    assert '"image/png"' in source.with_suffix(".ipynb").read_text()  # something to look at
