import errno
import os

import pytest

from rayfold.recon.errors import OutputFailure
from rayfold.recon.io.atomic import atomic_file, atomic_folder


def names(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def test_a_file_appears_with_its_parents(tmp_path):
    with atomic_file(tmp_path / "a" / "b.nii.gz") as part:
        assert part.parent == tmp_path / "a" and part.name.endswith("b.nii.gz")
        part.write_text("x")
        assert not (tmp_path / "a" / "b.nii.gz").exists()
    assert names(tmp_path) == ["a", "a/b.nii.gz"]


@pytest.mark.parametrize("stop", [ValueError, KeyboardInterrupt, SystemExit])
def test_nothing_half_written_stays(tmp_path, stop):
    with pytest.raises(stop), atomic_file(tmp_path / "a" / "b.txt") as part:
        part.write_text("half")
        raise stop
    with pytest.raises(stop), atomic_folder(tmp_path / "a" / "s", holds=".dcm") as folder:
        (folder / "1.dcm").write_text("half")
        raise stop
    assert names(tmp_path) == []


def test_an_existing_file_is_replaced_only_with_force(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(OutputFailure, match="--force"), atomic_file(target) as part:
        part.write_text("new")
    assert target.read_text() == "old"
    with atomic_file(target, force=True) as part:
        part.write_text("new")
    assert target.read_text() == "new"
    with pytest.raises(KeyboardInterrupt), atomic_file(target, force=True) as part:
        part.write_text("half")
        raise KeyboardInterrupt
    assert target.read_text() == "new" and names(tmp_path) == ["a.txt"]


def test_a_file_that_appears_meanwhile_is_kept(tmp_path):
    target = tmp_path / "a.txt"
    with pytest.raises(OutputFailure, match="already there"), atomic_file(target) as part:
        part.write_text("ours")
        target.write_text("theirs")
    assert target.read_text() == "theirs" and names(tmp_path) == ["a.txt"]


def test_force_never_deletes_what_is_not_a_slice(tmp_path):
    target = tmp_path / "s"
    target.mkdir()
    with atomic_folder(target, holds=".dcm") as part:  # an empty folder may be there
        (part / "1.dcm").write_text("old")
    with pytest.raises(OutputFailure, match="--force"), atomic_folder(target, holds=".dcm"):
        pass
    with atomic_folder(target, holds=".dcm", force=True) as part:
        (part / "2.dcm").write_text("new")
    assert names(target) == ["2.dcm"]
    (target / "thesis.tex").write_text("precious")
    with (
        pytest.raises(OutputFailure, match=r"thesis\.tex"),
        atomic_folder(target, holds=".dcm", force=True),
    ):
        pass
    assert names(tmp_path) == ["s", "s/2.dcm", "s/thesis.tex"]


@pytest.mark.parametrize(
    ("code", "cure"),
    [(errno.ENOSPC, "another disk"), (errno.EACCES, "may write"), (errno.EIO, "check the path")],
)
def test_os_errors_become_one_line_with_a_cure(tmp_path, code, cure):
    with pytest.raises(OutputFailure, match=cure) as caught, atomic_file(tmp_path / "a.txt"):
        raise OSError(code, os.strerror(code))
    assert caught.value.exit_code == 5 and "\n" not in str(caught.value)


def test_a_parent_that_is_a_file(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(OutputFailure, match="parents are folders"), atomic_file(tmp_path / "a" / "b.txt"):
        pass
    with pytest.raises(OutputFailure, match="is a folder"), atomic_file(tmp_path):
        pass


def test_a_full_disk_under_hdf5_is_named():
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    from rayfold.recon.io.atomic import _failure

    error = OSError("Can't write (file write failed: errno = 28, error message = 'No space left')")
    assert "no space left" in str(_failure("a.h5", error))
