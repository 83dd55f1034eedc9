"""Kernels of any two files may stand in one source, so a name is one function."""

import re
from collections import defaultdict
from importlib import resources

# It stands in the place of others, where numbers are halves.
INSTEAD = "halves.c"
DEFINITION = re.compile(r"^(?:KERNEL|ROUTINE)[^(;{=]*?(\w+)\(", re.MULTILINE)


def test_no_two_kernel_files_define_one_function():
    files = defaultdict(set)
    for path in (resources.files("shufflenet.compiler.c") / "kernels").iterdir():
        if path.name.endswith(".c") and path.name != INSTEAD:
            for name in DEFINITION.findall(path.read_text(encoding="utf-8")):
                files[name].add(path.name)
    assert len(files) > 50
    assert not {name: where for name, where in files.items() if len(where) > 1}
