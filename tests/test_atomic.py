"""Files appear whole or not at all."""

import ast
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import shufflenet
from shufflenet import atomic

SOURCE = Path(shufflenet.__file__).parent


def write_half(block, name=""):
    with block as temporary:
        (temporary / name).write_text("half")
        raise KeyboardInterrupt


def test_a_file_is_replaced_at_the_end_of_the_block(tmp_path):
    path = tmp_path / "deep" / "figures.json"
    atomic.write_text(path, "old")
    with atomic.writing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.suffix == path.suffix
    assert path.read_text() == "new"
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("there", [True, False])
def test_an_error_leaves_what_was_there(tmp_path, there):
    path = tmp_path / "figures.json"
    if there:
        path.write_text("old")

    with pytest.raises(KeyboardInterrupt):
        write_half(atomic.writing(path))
    assert [item.read_text() for item in tmp_path.iterdir()] == ["old"] * there


def test_a_killed_process_leaves_the_old_file(tmp_path):
    path = tmp_path / "figures.json"
    path.write_text("old")
    program = f"""
import os, signal
from pathlib import Path
from shufflenet import atomic
with atomic.writing(Path({str(path)!r})) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode < 0
    assert path.read_text() == "old"
    atomic.remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == [path.name]


def test_a_file_has_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "plain").write_text("")
    atomic.write_text(tmp_path / "atomic", "")
    assert stat.S_IMODE((tmp_path / "atomic").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_a_link_stays_and_its_file_is_replaced(tmp_path):
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to("file")
    atomic.write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "new"


def test_a_device_is_written_to_not_replaced():
    atomic.write_text(Path(os.devnull), "text")
    assert Path(os.devnull).is_char_device()


def test_an_error_of_the_system_names_the_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"file'"):
        atomic.write_text(tmp_path / "file" / "figures.json", "")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match=r"folder'") as raised:
        atomic.write_text(tmp_path / "folder", "")
    assert ".part" not in str(raised.value)


def test_a_folder_appears_whole(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write_half(atomic.writing_folder(tmp_path / "made"), "part")
    assert list(tmp_path.iterdir()) == []
    with atomic.writing_folder(tmp_path / "made") as folder:
        (folder / "part").write_text("")
        assert not (tmp_path / "made").exists()
    assert os.listdir(tmp_path) == ["made"]
    assert os.listdir(tmp_path / "made") == ["part"]


def test_files_join_a_folder_once_all_are_written(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "mine").write_text("kept")
    with pytest.raises(KeyboardInterrupt):
        write_half(atomic.writing_into(folder), "mine")
    with atomic.writing_into(folder) as scratch:
        (scratch / "a").write_text("1")
        (scratch / "b").write_text("2")
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"mine": "kept", "a": "1", "b": "2"}


def test_nothing_else_puts_files_into_their_place():
    """os.replace and os.rename stand in atomic.py, and in the compiler's cache, which stands alone."""
    for path in SOURCE.rglob("*.py"):
        if path.name == "atomic.py" or path.is_relative_to(SOURCE / "compiler"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
                assert node.attr not in ("replace", "rename"), f"{path}: line {node.lineno}"
