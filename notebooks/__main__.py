"""Execute the notebooks from their sources: ``python -m notebooks``."""

import base64
import io
import os
import tempfile
from pathlib import Path

import jupytext
import nbclient
from PIL import Image

WIDTH, COLOURS = 1000, 256  # pictures as committed: small enough for a page that renders the notebook


def smaller(png: str) -> str:
    """A picture of at most `WIDTH` pixels with a palette, as base64."""
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    picture.thumbnail((WIDTH, 10 * WIDTH), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    picture.quantize(COLOURS, kmeans=2, dither=Image.Dither.NONE).save(out, "png", optimize=True)
    return base64.b64encode(out.getvalue()).decode()


folder = Path(__file__).resolve().parent
os.environ["PYTHONPATH"] = str(folder.parent / ".dev")
os.environ.pop("MPLBACKEND", None)  # of this shell: pictures would be drawn, and shown nowhere
for source in sorted(folder.glob("[0-9]*.py")):
    book = jupytext.read(source)
    with tempfile.TemporaryDirectory() as work:
        resources = {"metadata": {"path": work}}
        nbclient.NotebookClient(book, timeout=600, kernel_name="python3", resources=resources).execute()
    for cell in book.cells:
        cell.metadata.pop("execution", None)  # times of this run: a new commit each time for nothing
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output["data"]["image/png"] = smaller(output["data"]["image/png"])
    jupytext.write(book, source.with_suffix(".ipynb"))
    print(source.stem)
