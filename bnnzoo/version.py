"""The version of the package, where modules read it without importing the package's names."""

__version__ = "0.2.0"
