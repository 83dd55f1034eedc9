"""Other machines: how zig cc builds for each, and what runs the program here."""

# The C library is static, so that no other machine's need be installed.
MACHINES = {
    "x86_64": (("-mcpu=x86_64",), ()),
    "x86_64-v2": (("-mcpu=x86_64_v2",), ()),
    "x86_64-v3": (("-mcpu=x86_64_v3",), ()),
    "aarch64": (("-target", "aarch64-linux-musl", "-static"), ("qemu-aarch64", "-cpu", "cortex-a53")),
    "aarch64-dotprod": (
        ("-target", "aarch64-linux-musl", "-mcpu=generic+dotprod", "-static"),
        ("qemu-aarch64", "-cpu", "max"),
    ),
    "riscv64": (("-target", "riscv64-linux-musl", "-static"), ("qemu-riscv64",)),
    "riscv64-v": (
        ("-target", "riscv64-linux-musl", "-mcpu=baseline_rv64+v+zvl128b", "-static"),
        ("qemu-riscv64", "-cpu", "rv64,v=true,vlen=128,vext_spec=v1.0"),
    ),
    "wasm32": (("-target", "wasm32-wasi", "-mcpu=generic+simd128"), ("node", "--no-warnings", "run.mjs")),
    "wasm32-relaxed": (
        ("-target", "wasm32-wasi", "-mcpu=generic+simd128+relaxed_simd"),
        ("node", "--no-warnings", "run.mjs"),
    ),
}
