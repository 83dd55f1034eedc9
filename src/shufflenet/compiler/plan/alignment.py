"""Where data begins, and how far beyond its end a kernel may reach. In bytes, but where an element is given: in numbers."""

from shufflenet.compiler.graph.elements import Element

CACHE_LINE_BYTES = 64  # where whatever is planned begins
VECTOR_BYTES = 64  # the widest vector of any machine
OVERHANG_BYTES = 64  # that the store of a whole vector may reach beyond the last number meant


def aligned(size: int) -> int:
    """Whole cache lines for so many bytes."""
    return -(-size // CACHE_LINE_BYTES) * CACHE_LINE_BYTES


def whole_lines(count: int, element: Element) -> int:
    """Room for so many numbers in whole cache lines."""
    return element.count(aligned(count * element.bytes))


def odd_lines(count: int, element: Element) -> int:
    """The same in an odd number of cache lines: what lies so far apart shares no cache set."""
    return element.count(CACHE_LINE_BYTES * (-(-count * element.bytes // CACHE_LINE_BYTES) | 1))


def plane_stride(height: int, width: int, element: Element) -> int:
    """Numbers from one plane to the next: room for whole vectors of every machine, but planes of one number lie side by side.

    Large planes share no cache set. Kernels of bytes write none beyond a plane: it needs no room.
    """
    pixels = height * width
    if pixels == 1 or element.bytes == 1:
        return pixels
    large = pixels * element.bytes > 64 * CACHE_LINE_BYTES
    return odd_lines(pixels, element) if large else whole_lines(pixels, element)
