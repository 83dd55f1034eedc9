"""Where the cache lies, for users with a home and without one."""

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from shufflenet.cache import cache_folder, made_folder
from shufflenet.errors import UserError


def test_it_follows_the_environment(monkeypatch):
    monkeypatch.setenv("SHUFFLENET_CACHE", "/somewhere")
    assert str(cache_folder()) == "/somewhere"
    monkeypatch.delenv("SHUFFLENET_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert str(cache_folder()) == "/cache/shufflenet"


def test_a_place_that_cannot_be_written_is_named(monkeypatch):
    monkeypatch.setenv("SHUFFLENET_CACHE", "/proc/none")
    with pytest.raises(UserError, match=r"/proc/none/built cannot be written.*set SHUFFLENET_CACHE"):
        made_folder("built")


@pytest.fixture
def everyones_folder():
    """A folder that anybody may write to; pytest's own lie below one that is the user's alone."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="only root becomes a user whom nobody knows")
@pytest.mark.parametrize("cache", [True, False])
def test_a_user_whom_nobody_knows(cache, everyones_folder):
    """No HOME, no line in /etc/passwd, as in a container with --user 12345."""
    environment = {
        name: value for name, value in os.environ.items() if name in ("PATH", "PYTHONPATH", "OMP_NUM_THREADS")
    }
    if cache:
        environment["SHUFFLENET_CACHE"] = str(everyones_folder / "cache")
    program = (
        "import os, platformdirs.unix\n"
        "from shufflenet.cache import made_folder\n"
        "from shufflenet.compiler.run.build import compiler_environment\n"
        "os.setgroups([]); os.setgid(54321); os.setuid(54321)\n"
        "print(made_folder('built'), compiler_environment()['ZIG_GLOBAL_CACHE_DIR'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        cwd=everyones_folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if cache:
        assert done.stdout.split() == [str(everyones_folder / "cache" / part) for part in ("built", "zig")], done.stderr
    else:
        assert "this user has no home folder to keep a cache in; set SHUFFLENET_CACHE" in done.stderr
        assert not list(everyones_folder.iterdir())
