"""HDF5: open, follow links to moved neighbours, read without trusting the header, and write whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from rayfold.recon.errors import UnreadableInput
from rayfold.recon.io.files import reading

_TRUSTED_BYTES = 2**28
_BEST_COMPRESSION = 2000


@contextmanager
def open_hdf5(path: Path, what: str = "HDF5") -> Iterator[Any]:
    """Open for reading as a context; anything that goes wrong inside is an `UnreadableInput`."""
    import h5py

    with reading(path, what), h5py.File(path, "r") as file:
        yield file


@contextmanager
def new_hdf5(path: Path, **options: Any) -> Iterator[Any]:
    """Build a file in memory as a context, then write it at once.

    On a full disk HDF5 itself fails late, more than once and with a crash at exit; an ordinary write says so.
    """
    import h5py

    content = BytesIO()
    with h5py.File(content, "w", **options) as file:
        yield file
    path.write_bytes(content.getbuffer())


def find(node: Any, name: str) -> Any:
    """Object `name` below `node`, or None; a link into a file that moved next to this one is followed.

    Raises
    ------
    UnreadableInput
        If the link points to a file that is not there.
    """
    import h5py

    for part in name.split("/"):
        link = node.get(part, getlink=True) if isinstance(node, h5py.Group) else None
        if link is None:
            return None
        if isinstance(link, h5py.ExternalLink):
            node = _follow(node, link)
        else:
            # get() takes a damaged object for an absent one; only a soft link may lead nowhere
            node = node[part] if isinstance(link, h5py.HardLink) else node.get(part)
    return node


def _follow(group: Any, link: Any) -> Any:
    import h5py

    # Acquisition systems link by the folder they wrote to; people copy the files into one folder.
    folder = Path(group.file.filename).parent
    wanted = Path(link.filename.replace("\\", "/"))
    for candidate in (folder / wanted, folder / wanted.name):
        if candidate.is_file():
            target = find(h5py.File(candidate, "r"), link.path.strip("/"))
            if target is None:
                raise UnreadableInput(
                    f"{candidate.name} has no {link.path}, to which a link of the scan points"
                )
            return target
    raise MissingLink(
        f"the scan links to {wanted.name}, which is not next to it; copy that file into the same folder"
    )


class MissingLink(UnreadableInput):
    """A link of the file points to another file that is absent."""


def checked(dataset: Any) -> Any:
    """Return the dataset after making sure that its numbers are really in the file(s).

    HDF5 fills what is missing with zeros without a word: sources of a virtual dataset that were not copied,
    and chunks that a damaged header promises (which may be terabytes).
    """
    name = dataset.name
    if dataset.is_virtual:
        folder = Path(dataset.file.filename).parent
        for source in dataset.virtual_sources():
            if source.file_name != "." and not (folder / source.file_name).is_file():
                raise MissingLink(
                    f"{name} takes its data from {Path(source.file_name).name}, which is not there; "
                    "copy that file next to the scan"
                )
    elif dataset.nbytes > max(_TRUSTED_BYTES, _BEST_COMPRESSION * dataset.id.get_storage_size()):
        raise UnreadableInput(
            f"{name} claims {dataset.nbytes / 2**30:.0f} GiB, far more than the file stores; "
            "the file is damaged or incomplete, copy it again"
        )
    return dataset


def values(node: Any, name: str) -> Any:
    """Numbers of dataset `name` below `node` as an array, or None when absent."""
    import h5py

    dataset = find(node, name)
    return checked(dataset)[()] if isinstance(dataset, h5py.Dataset) else None


def text(value: Any) -> str:
    """An HDF5 string attribute, whichever of its four types it has."""
    import numpy as np

    if isinstance(value, np.ndarray):
        value = value.flat[0] if value.size else ""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
