"""The compiler's one exception."""


class CompileError(ValueError):
    """What cannot be compiled, which node asks for it, and what would do, in one sentence."""
