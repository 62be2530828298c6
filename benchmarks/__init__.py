"""How fast the runtime is: `python -m benchmarks.runtime`, and against what: `benchmarks.peers`."""
