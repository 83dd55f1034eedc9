"""Plan → C text. `emit.py` writes the file, `functions.py` one function a step; what these call lies in `kernels/`."""
