"""NAME_run_on's tasks: for each step that is dealt to threads, a function that does a range of its tasks."""

from collections.abc import Callable, Iterator

from shufflenet.compiler.c.functions import StepFunctions
from shufflenet.compiler.c.units import takes_scratch
from shufflenet.compiler.graph.elements import FLOAT32
from shufflenet.compiler.plan.alignment import CACHE_LINE_BYTES
from shufflenet.compiler.plan.steps import Plan, Step, Strips

_CUT = """\
/* Where tasks are cut, in their order; how many parts that makes. */
KERNEL int join_cuts(int *cuts, int count) {
  int parts = 0;
  for (int task = 0; task < count; task++)
    if (cuts[task]) cuts[parts++] = task;
  cuts[parts] = count;
  return parts;
}
"""


def task_functions(plan: Plan, functions: StepFunctions, operands: Callable[[Step], Iterator[str]]) -> Iterator[str]:
    """What all tasks of a call share, and the functions; `operands` are a step's, found in `c`."""
    dealt = {i: step for i, step in enumerate(plan.steps) if step.tasks}
    if not dealt:
        return
    most_cuts = max((step.tasks.count for step in dealt.values() if isinstance(step, Strips) and step.tasks), default=0)
    fields = ["const float *w;", "float *a;", f"const float *inputs[{len(plan.inputs)}];"]
    fields += ["const uint8_t *pixels;", "ptrdiff_t row_stride;"] if functions.pixels else []
    fields += [f"int cuts[{most_cuts + 1}];"] if most_cuts else []
    lines = "\n".join(f"  {field}" for field in fields)
    yield f"/* A call, as its tasks see it. */\nstruct call {{\n{lines}\n}};\n"
    if plan.worker_bytes:
        first = FLOAT32.count(plan.arena_bytes - CACHE_LINE_BYTES)
        yield (
            "/* A worker's own scratch: the first one's is where the step's is. */\n"
            "KERNEL float *scratch_of(const struct call *c, int worker, int first) {\n"
            f"  return c->a + (worker ? {first} + (ptrdiff_t)(worker - 1) * {FLOAT32.count(plan.worker_bytes)} : first);\n}}\n"
        )
    if most_cuts:
        yield _CUT
    for i, step in dealt.items():
        if isinstance(step, Strips):
            yield functions.edge(f"edge_{i}", step)
            yield _function(f"edges_{i}", _edges(i, step))
        yield _function(f"tasks_{i}", _tasks(i, step, operands))


def dealt_step(i: int, step: Step) -> Iterator[str]:
    """The lines of NAME_run_on for a step that is dealt to threads."""
    assert step.tasks
    count = str(step.tasks.count)
    if isinstance(step, Strips):
        yield "memset(call.cuts, 0, sizeof call.cuts);"
        yield f"parallel_for(context, {count}, edges_{i}, &call);"
        count = f"join_cuts(call.cuts, {count})"
    yield f"parallel_for(context, {count}, tasks_{i}, &call);"


def _function(name: str, lines: Iterator[str]) -> str:
    body = "\n".join(f"  {line}" for line in lines)
    return f"static void {name}(void *data, int worker, int first, int end) {{\n{body}\n}}\n"


def _tasks(i: int, step: Step, operands: Callable[[Step], Iterator[str]]) -> Iterator[str]:
    assert step.tasks
    begin, end = "first", "end"
    yield "const struct call *const c = data;"
    if isinstance(step, Strips):
        begin, end = "c->cuts[first]", "c->cuts[end]"
    if not takes_scratch(step):
        yield "(void)worker;"
    if step.tasks.each > 1:
        begin, end = f"{step.tasks.each} * {begin}", f"{step.tasks.each} * {end}"
        if step.tasks.units % step.tasks.each:
            end = f"{end} < {step.tasks.units} ? {end} : {step.tasks.units}"
    calls = f"step_{i}({', '.join((*operands(step), begin, end))});"
    if isinstance(step, Strips):
        # Parts were cut apart where threads began; each has to be done by itself.
        calls = calls.replace("[end]", "[first + 1]")
        yield "for (; first < end; first++)"
        yield f"  {calls}"
    else:
        yield calls


def _edges(i: int, step: Strips) -> Iterator[str]:
    """Whoever gets a range of tasks here sets how it is cut for what follows."""
    assert step.tasks
    yield "struct call *const c = data;"
    yield "(void)worker, (void)end;"
    yield "c->cuts[first] = 1;"
    yield f"if (first > 0) edge_{i}(c->w, c->a, {step.tasks.each} * first);"
