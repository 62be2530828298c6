"""The command `bnnzoo`: dispatches commands and turns errors into one line and an exit code."""

from __future__ import annotations

import errno
import importlib
import io
import keyword
import os
import sys
import warnings
from collections.abc import Sequence

import click

from bnnzoo.cli.output import VERBOSITY, logging_to_stderr, report_error
from bnnzoo.cli.tensorflow_log import drop_tensorflow_log
from bnnzoo.errors import BnnZooError, did_you_mean, naming_keras_extras
from bnnzoo.version import __version__

# Name -> one line of help. Each command is `command` in bnnzoo/cli/<name>.py, which is imported
# only when it is invoked, so that `bnnzoo --help` is fast.
COMMANDS = {
    "benchmark": "Measure the speed of a packed file on this machine.",
    "cache": "Show, verify or empty the cache of downloaded weights.",
    "compare": "Compare networks by accuracy, size, memory and time.",
    "completion": "Write a script for completion in bash, zsh or fish.",
    "convert": "Convert a model to a file that runs without Keras.",
    "doctor": "Show versions, the backend, the cache and missing packages.",
    "download": "Download and verify pretrained weights.",
    "evaluate": "Measure the accuracy of a model on a data set.",
    "import": "Convert a PyTorch checkpoint of a paper's authors.",
    "info": "Show details of a model and its weights.",
    "finetune": "Train a pretrained network on other classes.",
    "inspect": "Show the graph, tensors and metadata of a packed file.",
    "list": "List the models.",
    "plot": "Draw the training curves of runs.",
    "predict": "Classify images.",
    "publish": "Add the network of a finished run to the zoo.",
    "push": "Put a packed network with a card on the Hugging Face Hub.",
    "recipes": "List the training recipes and their accuracies.",
    "report": "Merge the reports of several evaluations.",
    "summary": "Show bits, parameters, bytes and MACs of each layer.",
    "train": "Train a network with a recipe.",
    "unpack": "Write the weights of a packed file as NumPy arrays.",
    "verify": "Check a packed file: structure, ranges, checksums.",
}

EXIT_CODES = (
    "Exit codes: 0 ok, 1 failed, 2 usage, 3 unknown model or tag, 4 download or integrity, "
    "5 data, 6 conversion, 130 interrupted."
)


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_OUT_OF_MEMORY = ("RESOURCE_EXHAUSTED", "ResourceExhausted", "OutOfMemory")


def with_verbosity(command: click.Command) -> click.Command:
    """Adds the options of `-q`, `-v` and `--log-file` to a command and its commands."""
    if VERBOSITY[0] not in command.params:
        command.params += VERBOSITY
    for part in getattr(command, "commands", {}).values():
        with_verbosity(part)
    return command


class LazyGroup(click.Group):
    """A group whose commands are imported on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Returns the names of the commands."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports and returns a command; None if the name is unknown."""
        if cmd_name not in COMMANDS:
            return None
        module = f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name
        found: click.Command = importlib.import_module(f"bnnzoo.cli.{module}").command
        return with_verbosity(found)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the command, or suggests the closest name."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"No such command '{args[0]}'.{did_you_mean(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the table of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


@click.group(
    cls=LazyGroup, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, "-V", "--version", prog_name="bnnzoo")
def command() -> None:
    """A model zoo for binarized neural networks."""


with_verbosity(command)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code.

    A `BnnZooError`, a full disk or a lack of memory becomes one line on standard error. Any other
    exception is a bug and keeps its traceback.
    """
    with logging_to_stderr():
        return _exit_code(argv)


def _exit_code(argv: Sequence[str] | None) -> int:
    try:
        with naming_keras_extras():
            result = command.main(argv, prog_name="bnnzoo", standalone_mode=False)
        _flush()
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        report_error(shown.getvalue().rstrip("\n"))
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        report_error("Interrupted.")
        return 130
    except BnnZooError as error:
        report_error(f"Error: {error}")
        return error.exit_code
    except Exception as error:
        lacking = _lacking(error)
        if lacking is None:
            raise
        report_error(f"Error: {lacking}")
        return 1
    return result if isinstance(result, int) else 0


def _lacking(error: Exception) -> str | None:
    """Returns a line about a full disk or a lack of memory; None for any other error."""
    if isinstance(error, OSError) and error.errno in _FULL:
        where = error.filename or "A file or the output"
        return f"{where} cannot be written: {error.strerror}. Free some space and try again."
    # JAX, TensorFlow and torch raise their own errors.
    lines = f"{type(error).__name__}: {error}".splitlines()
    telling = [line for line in lines if any(sign in line for sign in _OUT_OF_MEMORY)]
    if isinstance(error, MemoryError) or telling:
        reason = (telling or lines)[-1].strip(" .:")
        return f"Out of memory: {reason}. Use less memory, for example a smaller batch."
    return None


def _flush() -> None:
    if sys.stdout is not None:  # None if it was closed
        sys.stdout.flush()


def run() -> None:
    """The entry point of the installed script."""
    # Errors of TensorFlow are still shown.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    drop_tensorflow_log()
    # Pillow warns about broken files without naming them. The error that follows names the file.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # for names that the terminal cannot show
    code = main()
    try:
        _flush()
    except OSError:  # main has reported it; Python would flush again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)
