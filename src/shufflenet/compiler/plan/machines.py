"""What the machines at hand multiply with: for each element a table of vector units, one row a unit. And what their memory wants."""

from dataclasses import dataclass

from shufflenet.compiler.graph.elements import FLOAT16, FLOAT32, U8


@dataclass(frozen=True)
class VectorUnit:
    """A vector unit as the C source sees it: `condition` is the preprocessor's, and the first in a table that holds is taken.

    `lanes` sums lie in a register; one instruction adds `depth` products to each. `latency` instructions in flight keep it busy.
    `spare_registers` are those beside sums and pixels, for weights. `fused`: multiply and add are one instruction. `shallow_rows`: the most
    of a tile whose sums take as long to become codes as to be made: a processor should have the next tile in view meanwhile.
    """

    name: str
    condition: str
    lanes: int
    registers: int
    spare_registers: int
    depth: int = 1
    latency: int = 8
    fused: bool = True
    shallow_rows: int = 24


@dataclass(frozen=True)
class Machine:
    """What a kind of processor wants of a plan beside its tiles, which are its vector unit's; `benchmarks/machine.py` measures it."""

    name: str
    far_bytes: int  # a product that reads and writes more finds little of it in a second-level cache
    chunk_bytes: int  # of such a product's input, which all blocks of weights meet before the next: part of that cache
    unit_bytes: int  # a unit whose planes are more finds little of them in a last-level cache
    strip_bytes: int  # of all planes, at most, that a strip of such a unit touches
    multiply_adds_per_ns: float  # what a core does of a product
    bytes_per_ns: float  # what it moves where planes come from a second-level cache
    task_ns: float  # a step of more is worth another thread's while: many times what it takes to tell it


ZEN_4 = Machine(
    "Zen 4",
    far_bytes=1 << 20,
    chunk_bytes=256 << 10,
    unit_bytes=8 << 20,
    strip_bytes=3 << 20,
    multiply_adds_per_ns=40,
    bytes_per_ns=20,
    task_ns=2000,
)
# One C file is for every machine, so one row is. It was not measured on Intel's, whose second-level caches are twice as large.
USUAL = ZEN_4

_FLOATS = (
    # With one register alone for weights clang spills a sum in the inner loop.
    VectorUnit("AVX-512", "LANES == 16", 16, 32, spare_registers=3),
    VectorUnit("AVX2", "LANES == 8", 8, 16, spare_registers=2),
    VectorUnit("NEON", "LANES == 4 && REGISTERS == 32", 4, 32, spare_registers=3),
    # A JIT keeps a register for itself, and computes the address of every weight.
    VectorUnit(
        "WebAssembly", "defined __wasm_simd128__ && LANES == 4", 4, 15, spare_registers=2, latency=12, fused=False
    ),
    VectorUnit("SSE2", "LANES == 4", 4, 16, spare_registers=2),
    VectorUnit("scalar", "LANES == 1", 1, 16, spare_registers=2),
)

UNITS: dict[str, tuple[VectorUnit, ...]] = {
    FLOAT32.name: _FLOATS,
    # Elsewhere halves are only loaded and stored; sums are floats.
    FLOAT16.name: (
        VectorUnit("AVX512-FP16", "LANES == 32", 32, 32, spare_registers=3),
        VectorUnit("NEON with half precision", "LANES == 8 && defined HALF_ARITHMETIC", 8, 32, spare_registers=3),
        *_FLOATS,
    ),
    # Sums are 32 bits wide; where no instruction adds up four products of bytes, two of 16 bits are.
    U8.name: (
        VectorUnit("AVX-512 VNNI", "LANES == 16 && defined __AVX512VNNI__", 16, 32, spare_registers=3, depth=4, shallow_rows=3),
        VectorUnit("AVX-512", "LANES == 16", 16, 32, spare_registers=3, depth=2, fused=False),
        VectorUnit("AVX-VNNI", "LANES == 8 && defined __AVXVNNI__", 8, 16, spare_registers=2, depth=4),
        VectorUnit("AVX2", "LANES == 8", 8, 16, spare_registers=2, depth=2, fused=False),
        VectorUnit("NEON with dot products", "LANES == 4 && defined __ARM_FEATURE_DOTPROD", 4, 32, spare_registers=3, depth=4),
        VectorUnit("NEON", "LANES == 4 && REGISTERS == 32", 4, 32, spare_registers=3),
        VectorUnit("WebAssembly", "defined __wasm_simd128__ && LANES == 4", 4, 15, spare_registers=2, depth=2, latency=12, fused=False),
        VectorUnit("SSE2", "LANES == 4", 4, 16, spare_registers=2, depth=2, fused=False),
        VectorUnit("scalar", "LANES == 1", 1, 16, spare_registers=2),
    ),
}  # fmt: skip
