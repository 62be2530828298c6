"""Runs the command line as `python -m bnnzoo`."""

from bnnzoo.cli.main import run

if __name__ == "__main__":
    run()
