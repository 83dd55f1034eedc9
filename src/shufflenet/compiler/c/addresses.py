"""Where data lies, as C: in the arena, which is `float *a`, and in the weights, `const float *w`; and how a window moves.

Scratch of a step that is dealt to threads is each thread's own, `float *s`.
"""

from shufflenet.compiler.graph.elements import FLOAT32, Element
from shufflenet.compiler.plan.operands import Planes, Window
from shufflenet.compiler.plan.steps import Step


def at(planes: Planes, first: int = 0) -> str:
    """Where in the arena an operand's buffer begins, or its number `first`; for one in a step's scratch, where in `s`."""
    own = planes.buffer.place == "scratch"
    return place("s" if own else "a", (0 if own else planes.offset) + first * planes.element.bytes, planes.element)


def scratch(step: Step, element: Element = FLOAT32) -> str:
    """The same of a step's scratch."""
    return place("s", 0, element) if step.tasks else place("a", step.scratch, element)


def place(memory: str, offset: int, element: Element) -> str:
    """So many bytes beyond the beginning of `float *memory`."""
    count = element.count(offset)
    return f"{memory} + {count}" if element == FLOAT32 else f"({element.c_type} *){memory} + {count}"


def weights(offset: int, element: Element = FLOAT32) -> str:
    """The place so many bytes after the weights' beginning."""
    place = element.count(offset)
    return f"w + {place}" if element == FLOAT32 else f"(const {element.c_type} *)w + {place}"


def window(w: Window, first: int | str, count: int | str) -> str:
    """kernels/panels.c's struct for output pixels [first, first + count)."""
    values = (w.height, w.width, w.output_width, *w.kernel, *w.stride, *w.padding, *w.dilation, first, count)
    return f"(struct window){{{', '.join(map(str, values))}}}"
