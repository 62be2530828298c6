"""The worker process that `bnnzoo train --processes` starts and supervises.

python -m bnnzoo.cli._train_worker train RECIPE --processes ... --process-id ...
"""

from __future__ import annotations

import os
import sys
import traceback

from bnnzoo.cli.main import main
from bnnzoo.training.distributed import lifeline


def run() -> None:
    """Runs the command, then ends the process without JAX's shutdown.

    JAX's shutdown waits for the other processes, for minutes if one of them is dead.
    """
    lifeline.hold()
    sys.stdout = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # JAX's collectives print to file 1; standard output is for the result only
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
