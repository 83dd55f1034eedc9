"""Write README.md and README.zh-CN.md from their templates, so both show the same figures.

    make readme

Counted figures come from the code, printed ones from the paper's tables, measured ones from figures.yaml.
"""

import datetime
from pathlib import Path
from typing import Any

import jinja2
import yaml

from shufflenet import pretrained
from shufflenet.paper.counted import counted
from shufflenet.paper.published import printed

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
READMES = ("README.md", "README.zh-CN.md")
SHOWN = (
    "shufflenet_x0_25_g8",
    "shufflenet_x0_5_g4",
    "shufflenet_x0_5_g3",
    "shufflenet_x1_0_g8",
    "shufflenet_x1_0_g3",
    "shufflenet_x1_5_g3",
    "shufflenet_x2_0_g3",
    "shufflenet_x2_0_g3_se",
)


def render(name: str) -> str:
    """The text of one README."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    measured = yaml.safe_load((HERE / "figures.yaml").read_text(encoding="utf-8"))
    least, most = _speedup(measured["float32"]["rows"])
    return environment.get_template(f"{name}.j2").render(
        **measured,
        **_formats(),
        variants=SHOWN,
        speedup=f"{least:.1f} to {most:.1f}",
        speedup_chinese=f"{least:.1f} 至 {most:.1f}",
    )


def _speedup(rows: list[dict[str, Any]]) -> tuple[float, float]:
    """How much faster than the fastest runtime we are on ShuffleNets: the least and the most."""
    ratios = [row["runtime_ms"] / row["ours_ms"] for row in rows if row["network"].startswith("shufflenet")]
    return min(ratios), max(ratios)


def _formats() -> dict[str, Any]:
    errors = {name: pretrained.config(name)["training"]["top1_error"] for name in pretrained.names()}
    return {
        "millions": lambda name: f"{counted()[name].multiply_adds / 1e6:.1f}M",
        "parameters": lambda name: f"{counted()[name].parameters:,}",
        "printed": lambda name: f"{printed(name).error:.1f}%",
        "clothes": lambda name: f"{errors[name]:.1f}%" if (name := f"fashion-mnist/{name}") in errors else "–",
        "accuracy": lambda name: f"{100 - errors[name]:.1f}%",
        "ms": lambda milliseconds: f"{milliseconds:.2f}",
        "ratio": lambda theirs, ours: f"{theirs / ours:.2f}",
        "english": _english,
        "chinese": lambda date: f"{date.year} 年 {date.month} 月 {date.day} 日",
    }


def _english(date: datetime.date) -> str:
    return f"{date.day} {date:%B %Y}"


if __name__ == "__main__":
    for readme in READMES:
        (ROOT / readme).write_text(render(readme), encoding="utf-8")
