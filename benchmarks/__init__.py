"""Benchmarks of the runtime (`benchmarks.runtime`) and of other engines (`benchmarks.peers`)."""
