"""Graph → Plan: which steps run, how each is cut into tiles, and where in memory everything lies.

`lowering.py` chooses the steps, `strips.py` joins those of a large unit, `memory.py` gives every tensor its place.
"""

from shufflenet.compiler.plan.memory import make_plan

__all__ = ["make_plan"]
