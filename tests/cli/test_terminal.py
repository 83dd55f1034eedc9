"""What the verbs print is text: no bracket is markup, no name is cut."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from shufflenet.cli.terminal import Column, name, print_table, say

LONG = "[red]shufflenet_x0_25_g8_noshuffle[/red]:smile:" * 3
COLUMNS = (name("variant"), Column("multiply-adds"), Column("[bold]printed"), Column("tables"))
ROWS = [(LONG, "12.5M", "13M", "2, 3"), ("short", "1M", "–", "[/]")]


def test_brackets_and_colons_stay(capsys):
    say("runs/[old] [red]cats[/red] :cat: \\[x]")
    assert capsys.readouterr().out == "runs/[old] [red]cats[/red] :cat: \\[x]\n"


def test_what_is_piped_has_every_column_whole(capsys):
    print_table(COLUMNS, ROWS)
    captured = capsys.readouterr()
    lines = [line.split() for line in captured.out.splitlines()]
    assert lines == [
        ["variant", "multiply-adds", "[bold]printed", "tables"],
        [LONG, "12.5M", "13M", "2,", "3"],
        ["short", "1M", "–", "[/]"],
    ]
    assert captured.err == ""


def on_a_terminal(code, columns):
    """What a program prints on a terminal of so many columns."""
    main, end = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm", "NO_COLOR": "1"}
    process = subprocess.Popen([sys.executable, "-c", code], stdout=end, stderr=end, env=environment)
    os.close(end)
    output = b""
    while True:
        try:
            part = os.read(main, 4096)
        except OSError:
            break
        if not part:
            break
        output += part
    os.close(main)
    assert process.wait() == 0
    return re.sub(r"\x1b\[[\d;]*m", "", output.decode())


@pytest.mark.parametrize(
    ("columns", "left_out"), [(200, ""), (175, "tables"), (40, "multiply-adds, [bold]printed, tables")]
)
def test_whole_columns_go_and_names_stay(columns, left_out):
    code = f"from shufflenet.cli.terminal import *; print_table({COLUMNS!r}, {ROWS!r})"
    output = on_a_terminal(code, columns)
    assert LONG in output
    assert ("left out, for want of room: " in output) == bool(left_out)
    assert left_out in output
    assert ("12.5M" in output) == ("multiply-adds" not in left_out)
    assert "…" not in output


def test_list_on_a_narrow_terminal_has_every_name():
    from shufflenet.nets import variants

    output = on_a_terminal("import sys; sys.argv = ['shufflenet', 'list']; from shufflenet.cli import main; main()", 40)
    assert set(variants()) <= set(output.split())


@pytest.mark.parametrize("arguments", [["list"], ["info", "shufflenet_x1_0_g3"], ["list", "--json"]])
def test_what_is_kept_is_shown_without_torch(arguments):
    code = f"import sys; sys.argv[1:] = {arguments!r}\nfrom shufflenet.cli import app\ntry: app()\nexcept SystemExit: pass\n"
    code += "assert 'torch' not in sys.modules and 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_no_verb_prints_in_another_way():
    import shufflenet.cli

    folder = Path(shufflenet.cli.__file__).parent
    for path in folder.rglob("*.py"):
        if path.name != "terminal.py":
            text = path.read_text(encoding="utf-8")
            assert "rich.print(" not in text, path
            assert "rich.console" not in text, path
            assert "rich.markup" not in text, path


@pytest.mark.parametrize("use", ["numpy.empty(10**15)", "torch.empty(10**14)", "torch.empty(10**10, 10**9)"])
def test_too_little_memory_is_said_in_a_sentence(use):
    code = "import sys, numpy, torch, shufflenet.cli as cli\nsys.argv = ['shufflenet', 'list']\n"
    code += f"cli.app = lambda: {use}\ncli.main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "error: there is not enough memory; take smaller pictures or batches\n"
