"""The integer kernels give the very same bytes on every machine: those of index loops."""

import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

from shufflenet.compiler.run.build import FLAGS

from ..machines import MACHINES
from ..native import RUN_IN_NODE, STRICT

HARNESS = Path(__file__).with_name("integer_kernels.c")
KERNELS = str(resources.files("shufflenet.compiler.c.kernels"))
# What this machine's processor must have for the widest units: each is tried where it is there.
UNITS = {
    "avx512bw": ("-march=skylake-avx512",),
    "avx512_vnni": ("-march=icelake-server",),
    "avx512_vnni with 8 lanes": ("-march=icelake-server", "-DLANES=8", "-DREGISTERS=16"),
}


def run(program: Path, *runner: str) -> None:
    done = subprocess.run([*runner, str(program)], cwd=program.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith(" 0 wrong\n")


@pytest.mark.parametrize("machine", MACHINES)
def test_every_machine_gives_the_bytes_of_index_loops(machine, tmp_path):
    flags, runner = MACHINES[machine]
    if runner and not shutil.which(runner[0]):
        pytest.skip(f"{runner[0]} is not installed")
    (tmp_path / "run.mjs").write_text(RUN_IN_NODE)
    command = [sys.executable, "-m", "ziglang", "cc", *FLAGS, "-O1", *flags, f"-I{KERNELS}", str(HARNESS), "-lm"]
    subprocess.run([*command, "-o", str(tmp_path / "main")], check=True)
    run(tmp_path / "main", *runner)


@pytest.mark.parametrize("unit", UNITS)
def test_wide_units_give_the_bytes_of_index_loops(unit, tmp_path):
    flags = Path("/proc/cpuinfo").read_text().split()
    compiles_only = unit.split()[0] not in flags
    gcc(tmp_path, "-O2", *UNITS[unit])
    if not compiles_only:
        run(tmp_path / "main")


@pytest.mark.parametrize(("lanes", "pixel_bytes"), [(1, 3), (4, 3), (4, 1)])
def test_nothing_beside_the_buffers_is_touched(lanes, pixel_bytes, tmp_path):
    sizes = (f"-DLANES={lanes}", f"-DPIXEL_BYTES={pixel_bytes}")
    gcc(tmp_path, "-O1", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", *sizes)
    run(tmp_path / "main", "env", "ASAN_OPTIONS=detect_leaks=0")


def gcc(folder: Path, *flags: str) -> None:
    command = ["gcc", *STRICT, *flags, f"-I{KERNELS}", str(HARNESS), "-o", str(folder / "main"), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:3000]
