"""Where planes begin: at cache lines, and not all in the same set of a cache."""

ALIGNMENT = 16  # floats: 64 bytes


def aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def odd_lines(size: int) -> int:
    """Room for so many floats in an odd number of cache lines: what lies so far apart shares no cache set."""
    return ALIGNMENT * (-(-size // ALIGNMENT) | 1)


def plane_stride(height: int, width: int) -> int:
    """Floats from one plane to the next: room for whole vectors of every machine, but planes of one number lie side by side.

    Large planes share no cache set.
    """
    pixels = height * width
    return 1 if pixels == 1 else odd_lines(pixels) if pixels > 64 * ALIGNMENT else aligned(pixels)
