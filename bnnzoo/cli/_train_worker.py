"""What `bnnzoo train --processes` starts and supervises: the same command, on a lifeline.

python -m bnnzoo.cli._train_worker train RECIPE --processes ... --process-id ...
"""

from __future__ import annotations

import os
import sys
import traceback

from bnnzoo.cli.main import main
from bnnzoo.cli.output import show_log
from bnnzoo.training.distributed import lifeline


def run() -> None:
    """Runs the command and ends the process at once: JAX's own end waits for the other processes.

    Minutes, where one of them is dead.
    """
    lifeline.hold()
    sys.stdout = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # where JAX's collectives talk; what is printed here is the result
    show_log()
    try:
        code = main(sys.argv[1:])
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    run()
