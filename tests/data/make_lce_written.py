"""Makes `lce/written.npz`: what Larq Compute Engine's interpreter computes for files of bnnzoo.

    BNNZOO_LCE_PYTHON=PEER/bin/python python -m tests.data.make_lce_written

PEER is the environment that `scripts/test_lce.sh` makes; the networks and their images are those of
`tests/formats/lce_networks.py`.
"""

from __future__ import annotations

import numpy as np

from bnnzoo.formats import Network, lce
from bnnzoo.formats.network_info import NetworkInfo
from tests.conftest import DATA
from tests.formats.lce_networks import CASES, images, network
from tests.formats.lce_peer import Peer


def main() -> None:
    peer = Peer()
    arrays = {}
    for name in CASES:
        graph = network(name)
        data = lce.write(Network(graph, NetworkInfo("test"), images(graph, 1))).files[""]
        (arrays[name],) = peer.run(data, images(graph))
    np.savez_compressed(DATA / "lce" / "written.npz", **arrays)


if __name__ == "__main__":
    main()
