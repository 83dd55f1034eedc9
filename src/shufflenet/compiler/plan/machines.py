"""What the machines at hand multiply with: for each element a table of vector units, one row a unit."""

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
