"""C → something that runs: `build.py` calls a C compiler, `network.py` the result, `profile.py` times it."""
