"""Writes images.h: images of Fashion-MNIST, and their classes by a packed network.

python make_images.py fashion.safetensors 20 > images.h
"""

import sys

import numpy as np

from bnnzoo import runtime
from bnnzoo.data import open_source


def header(path, count):
    """Returns the text for images from all over the sample, and the classes of a packed network."""
    images = [image for image, _, _ in open_source("sample:fashion_mnist")]
    images = images[:: len(images) // count][:count]
    classes = runtime.load(path).predict(images).argmax(axis=1)
    rows = ",\n".join("{" + ",".join(map(str, np.ravel(image))) + "}" for image in images)
    return f"""#include <stdint.h>

#define IMAGES {count}

static const uint8_t images[IMAGES][{np.size(images[0])}] = {{
{rows}}};

static const int host_classes[IMAGES] = {{{", ".join(map(str, classes))}}};
"""


if __name__ == "__main__":
    sys.stdout.write(header(sys.argv[1], int(sys.argv[2])))
