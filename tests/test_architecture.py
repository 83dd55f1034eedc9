"""Imports flow one way between the rooms, as docs/decisions.md says."""

import ast
import io
import tokenize
from collections import defaultdict
from collections.abc import Collection, Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import shufflenet

SOURCE = Path(shufflenet.__file__).parent

# What each room may import of ours, beside the leaves. The compiler takes none but the place of its cache.
LEAVES = {"errors", "atomic", "cache", "text_files"}
ALLOWED = {
    "nets": set(),
    "pretrained": set(),
    "compiler": set(),
    "checkpoints": {"nets", "pretrained"},
    "data": {"nets", "checkpoints"},
    "training": {"nets", "checkpoints", "data"},
    "quantization": {"nets", "checkpoints", "data", "training", "detection"},
    "detection": {"nets", "checkpoints", "data", "training"},
    "deploy": {"nets", "pretrained", "checkpoints", "data", "detection", "compiler"},
    "web": {"nets", "checkpoints", "data", "detection", "deploy", "compiler"},
    "paper": {"nets", "checkpoints", "data", "training", "quantization", "detection", "deploy", "compiler"},
}
THIRD_PARTY_OF_COMPILER = {"numpy", "onnx"}


def imported(path: Path) -> set[str]:
    """Every dotted module that a file imports, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {node.module} | {
                f"{node.module}.{alias.name}" for alias in node.names if node.module == "shufflenet"
            }
    return names


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_imports_only_the_rooms_before_it(room):
    for path in (SOURCE / room).rglob("*.py"):
        for name in imported(path):
            parts = name.split(".")
            if parts[0] == "shufflenet" and len(parts) > 1:
                leaves = {"cache"} if room == "compiler" else LEAVES
                assert parts[1] in ALLOWED[room] | leaves | {room, "__version__"}, (
                    f"{path.relative_to(SOURCE)} imports {name}"
                )


def test_every_room_is_known():
    rooms = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    assert rooms == {*ALLOWED, "cli"}


def test_the_compiler_stands_alone():
    import sys

    for path in (SOURCE / "compiler").rglob("*.py"):
        roots = {name.split(".")[0] for name in imported(path)} - {"shufflenet", *sys.stdlib_module_names}
        assert roots <= THIRD_PARTY_OF_COMPILER, f"{path.relative_to(SOURCE)} imports {roots - THIRD_PARTY_OF_COMPILER}"


def _files_imported(path: Path, files: Collection[str]) -> set[str]:
    """The modules that a file imports; of a package from which it takes a module, only that."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            within = (f"{node.module}.{alias.name}" for alias in node.names)
            found |= {name if name in files else str(node.module) for name in within}
    return found & set(files)


def test_no_circles_of_files():
    """Nor lazy ones: a file's imports, followed as far as they go, never lead back to it."""
    files = {
        ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__"): path
        for path in SOURCE.rglob("*.py")
    }
    del files["shufflenet"]  # the front door, which opens a room when it is asked for
    names = {module: _files_imported(path, files.keys()) - {module} for module, path in files.items()}
    TopologicalSorter(names).prepare()  # raises CycleError, which names the circle


def _public_names(path: Path) -> set[str]:
    """The classes of a file and the types that it gives names to: what begins with a capital and has small letters too."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return {name for name in found if name[0].isupper() and not name.isupper()}


def test_a_name_means_one_thing():
    """No two files give one name to two classes or types."""
    where = defaultdict(list)
    for path in SOURCE.rglob("*.py"):
        for name in _public_names(path):
            where[name].append(path.relative_to(SOURCE).as_posix())
    assert not {name: files for name, files in where.items() if len(files) > 1}


def _comments_that_tear(path: Path) -> Iterator[int]:
    """Lines whose comment at the end is too long for the line, or stands at a bracket that it made the formatter break."""
    text = path.read_text(encoding="utf-8")
    lines = ["", *text.splitlines(), ""]
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        number, column = token.start
        code = lines[number][:column].strip()
        if (
            token.type != tokenize.COMMENT
            or not code
            or token.string.startswith(("# noqa", "# type:", "# fmt:", "# pyright:"))
        ):
            continue
        alone = lines[number - 1].rstrip().endswith(("(", "[", "{")) and lines[number + 1].strip()[:1] in ")]}"
        torn = code[0] in ")]}" or (code[-1] in "([{" and not code.endswith("= {"))
        if len(lines[number]) > 120 or torn or (alone and not code.endswith(",")):
            yield number


def test_comments_stand_above_the_line_where_they_would_tear_it():
    root = Path(__file__).parents[1]
    folders = (SOURCE, root / "tests", root / "benchmarks", root / "experiments")
    files = [path for folder in folders for path in folder.rglob("*.py")]
    assert not {path.name: found for path in files if (found := list(_comments_that_tear(path)))}
