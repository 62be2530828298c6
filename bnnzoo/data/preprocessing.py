"""Preprocessing by id: from raw uint8 images to the float32 array that a network was trained on.

It needs only NumPy, so that a board without TensorFlow computes exactly the same numbers.

    id                   what it does
    larq_in1k            Larq Zoo's for ImageNet: central crop, TensorFlow 1's bicubic
    torchvision_in1k     torchvision's for ImageNet: shorter side 256, bilinear, center 224
    timm_in1k            timm's for ImageNet: shorter side 235, bicubic, center 224 (crop 0.95)
    torchvision_cifar10  (x / 255 - mean) / deviation of CIFAR-10
    scale_pm1            x / 127.5 - 1, in [-1, 1]
    scale_01             x / 255, in [0, 1]
    raw                  x, in [0, 255], for models that scale their input themselves

Those for ImageNet end with its mean and deviation.

The id of a custom preprocessing defines it: `mean=0.5:std=0.25:size=96x96`; see `normalization`.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bnnzoo.data.images import as_pixels
from bnnzoo.data.resampling import resize_bicubic_tf1, resize_bilinear, resize_pillow
from bnnzoo.data.source import IGNORED
from bnnzoo.errors import ArgumentError, DataError, did_you_mean

__all__ = [
    "PREPROCESSINGS",
    "Box",
    "Images",
    "Preprocessing",
    "Region",
    "get",
    "known_id",
    "nearest",
    "normalization",
]

Images: TypeAlias = ArrayLike | Sequence[ArrayLike]
Fit: TypeAlias = Callable[[NDArray[np.uint8], int, int], NDArray[np.float32]]
Box: TypeAlias = tuple[int, int, int, int]
Region: TypeAlias = tuple[float, float, float, float]

logger = logging.getLogger(__name__)

MAX_CHANNELS = 4
BLOCK_PIXELS = 2**20
MAX_SIDE = 2**13

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_STD = (0.2470, 0.2435, 0.2616)


@dataclass(frozen=True)
class Preprocessing:
    """Turns raw images into a model's input.

    y = (fit(x) - mean) / std, where `fit` crops and resizes an image to `size`.

    Attributes:
        id: Name in manifests and on the command line.
        description: Description in one line.
        mean: Mean in pixel values, one for all channels or one per channel.
        std: Standard deviation, likewise.
        size: `(height, width)` of the result. None keeps the size of the images.
        channels: Number of channels of the result, 1 or 3. Images are converted: to grey by Rec.
            601 luma, to colour by repetition. None keeps the channels of the images.
        fit: Crops and resizes one image `(h, w, c)`.
        resize: The resize filter of `fit`, for other crops.
    """

    id: str
    description: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: tuple[int, int] | None
    channels: int | None
    fit: Fit
    resize: Fit = resize_bilinear

    def __call__(self, images: Images) -> NDArray[np.float32]:
        """Returns float32 `(n, height, width, channels)`.

        Args:
            images: uint8. One image `(h, w)` or `(h, w, c)`, a batch `(n, h, w)` or
                `(n, h, w, c)`, or a list of images of any sizes. An array with three axes is one
                image if the last axis has at most 4 entries. Pillow images are converted to RGB;
                transparent ones are put on white.

        Raises:
            DataError: An image has the wrong type or shape, or without a `size`, images of
                different sizes.
        """
        return self.stack([self.prepare(image) for image in _each(images)])

    def prepare(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Returns one image `(h, w, c)` as float32 `(height, width, channels)`."""
        image = self._with_channels(image)
        height, width = self.size or image.shape[:2]
        # One long row per line of pixels: NumPy is slow if the last axis has only 3 entries.
        mean, std = (
            np.resize(np.asarray(values, dtype=np.float32), width * image.shape[2])
            for values in (self.mean, self.std)
        )
        lines = self.fit(image, height, width).reshape(height, -1)
        np.subtract(lines, mean, out=lines)
        np.divide(lines, std, out=lines)
        return lines.reshape(height, width, -1).astype(np.float32, copy=False)

    def stack(self, prepared: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Returns prepared images as one array.

        Raises:
            DataError: There are no images, or without a `size`, their sizes differ.
        """
        if not prepared:
            raise DataError("images must have at least one image, got none. Pass an image.")
        shapes = {image.shape for image in prepared}
        if len(shapes) > 1:
            raise DataError(
                f"Images of one batch must have one shape, got {sorted(shapes)}. "
                f"Give '{self.id}' an input shape, or resize the images."
            )
        return np.stack(prepared)

    def keeps(self, image: NDArray[np.uint8]) -> bool:
        """Returns whether `fit` leaves an image `(h, w, c)` unchanged."""
        fits = self.size in (None, image.shape[:2]) and self.channels in (None, image.shape[2])
        return fits and self.fit is _keep_or_resize

    def unscaled(self) -> Preprocessing:
        """Returns a preprocessing that crops and resizes in the same way, but does not scale."""
        return replace(self, mean=(0.0,), std=(1.0,))

    def part(self, image: NDArray[np.uint8], box: Box) -> NDArray[np.float32]:
        """Returns a part of an image, resized to the network's size, in pixel values.

        Training on random parts thus uses the same filter as evaluation.

        Args:
            image: `(h, w, c)` uint8.
            box: Top, left, height and width of the part.
        """
        assert self.size is not None, "a part needs a size to be resized to"
        top, left, height, width = box
        part = self._with_channels(image[top : top + height, left : left + width])
        return self.resize(part, *self.size)

    def fit_mask(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Returns the part of a mask `(h, w)` that `fit` keeps, in the network's size.

        Nearest neighbours: the label of a pixel is that at its centre.

        Raises:
            ArgumentError: The preprocessing has a custom `fit`.
        """
        h, w = mask.shape
        height, width = self.size or (h, w)
        return nearest(mask, self.region(h, w, height, width), height, width)

    def unfit_mask(self, mask: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
        """Returns a mask `(h, w)` of the network's size in that of the image it was made from.

        Pixels of the image that the network does not see are `IGNORED`.

        Args:
            mask: Class indices of the pixels that `fit` keeps.
            height: Height of the image.
            width: Width of the image.

        Raises:
            ArgumentError: The preprocessing has a custom `fit`.
        """
        h, w = mask.shape
        top, left, rows, columns = self.region(height, width, h, w)
        # The image in the coordinates of the mask.
        y, x = h / rows, w / columns
        image = (-top * y, -left * x, height * y, width * x)
        return nearest(mask, image, height, width, beyond=IGNORED)

    def region(self, height: int, width: int, rows: int, columns: int) -> Region:
        """Returns the part of an image that `fit` keeps: top, left, height, width.

        Args:
            height: Height of the image.
            width: Width of the image.
            rows: Height of the result.
            columns: Width of the result.

        Raises:
            ArgumentError: The preprocessing has a custom `fit`.
        """
        fit = self.fit if isinstance(self.fit, functools.partial) else functools.partial(self.fit)
        if fit.func not in _REGIONS:
            raise ArgumentError(
                f"Preprocessing '{self.id}' must not have a custom fit to be applied to masks. "
                "Choose another one."
            )
        found: Region = _REGIONS[fit.func]((height, width), rows, columns, **fit.keywords)
        return found

    def _with_channels(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Returns `(h, w, c)` with the wanted number of channels."""
        channels = image.shape[2]
        if self.channels in (None, channels):
            return image
        return grey(image) if self.channels == 1 else np.repeat(image, 3, axis=2)


def nearest(
    mask: NDArray[np.uint8], region: Region, height: int, width: int, beyond: int | None = None
) -> NDArray[np.uint8]:
    """Returns a part of a mask `(h, w)` in another size, by nearest neighbours.

    Pixel i of n has the label at top + (i + 1/2) * rows / n.

    Args:
        mask: Class indices.
        region: Top, left, height and width of the part.
        height: Height of the result.
        width: Width of the result.
        beyond: Label of pixels outside of the mask; None repeats its border.
    """
    top, left, rows, columns = region
    y = np.floor(top + (np.arange(height) + 0.5) * rows / height).astype(np.int64)
    x = np.floor(left + (np.arange(width) + 0.5) * columns / width).astype(np.int64)
    h, w = mask.shape
    taken = mask[np.clip(y, 0, h - 1)[:, None], np.clip(x, 0, w - 1)]
    if beyond is not None:
        taken[(y < 0) | (y >= h)] = beyond
        taken[:, (x < 0) | (x >= w)] = beyond
    return taken


def grey(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns the Rec. 601 luma `(h, w, 1)` of `(h, w, 3)`, rounded as Pillow's mode L."""
    weights = np.array([19595, 38470, 7471], dtype=np.uint32)
    luma = np.empty((*image.shape[:2], 1), np.uint8)
    rows = max(1, BLOCK_PIXELS // image.shape[1])
    for top in range(0, len(image), rows):  # the sums take 16 bytes per pixel
        block = image[top : top + rows].astype(np.uint32)
        luma[top : top + rows, :, 0] = (block @ weights + 0x8000) >> 16
    return luma


def _each(images: Images) -> Iterator[NDArray[np.uint8]]:
    """Yields the images given to `Preprocessing` as `(h, w, c)`, decoding them one by one."""
    if isinstance(images, (list, tuple)):
        return map(_checked, map(as_pixels, images))
    array = as_pixels(images)
    # A batch of grey images is wider than four pixels: this is one image with an alpha channel.
    single = array.ndim < 3 or (array.ndim == 3 and array.shape[2] <= MAX_CHANNELS)
    return map(_checked, [array] if single else array)


def _checked(array: np.ndarray) -> NDArray[np.uint8]:
    if array.dtype != np.uint8:
        raise DataError(
            f"Images must be uint8, got {array.dtype}. "
            "Pass raw pixels of 0 to 255: preprocessing scales them."
        )
    image = array[..., None] if array.ndim == 2 else array
    if image.ndim != 3 or image.shape[2] not in (1, 3) or 0 in image.shape:
        raise DataError(
            f"An image must be (h, w), (h, w, 1) or (h, w, 3), got {array.shape}. "
            "Put channels last and drop an alpha channel."
        )
    return image


def _central_crop(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Crops `height` x `width` from the middle; an odd margin is larger at the top and left."""
    top = (image.shape[0] - height + 1) // 2
    left = (image.shape[1] - width + 1) // 2
    return image[top : top + height, left : left + width]


def _largest(shape: tuple[int, ...], height: int, width: int, fraction: float) -> tuple[int, int]:
    """Sides of the largest rectangle with the aspect of `height` x `width`, times `fraction`."""
    h, w = shape[:2]
    rows, columns = min(h, w * height / width), min(w, h * width / height)
    return max(int(fraction * rows), 1), max(int(fraction * columns), 1)


def _larq_in1k(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.float32]:
    """Crops 224 / 256 of the short side and resizes it with TensorFlow 1's bicubic."""
    crop = _central_crop(image, *_largest(image.shape, height, width, 224 / 256))
    return resize_bicubic_tf1(crop, height, width)


def _crop_and_resize(
    image: NDArray[np.uint8], height: int, width: int, fraction: float
) -> NDArray[np.float32]:
    """Crops `fraction` of the largest part with the aspect of the result, and resizes it."""
    crop = _central_crop(image, *_largest(image.shape, height, width, fraction))
    return resize_bilinear(crop, height, width)


def _shorter_side(
    image: NDArray[np.uint8], height: int, width: int, fraction: float, bicubic: bool
) -> NDArray[np.float32]:
    """Resizes the shorter side to the result's divided by `fraction`, then crops the center.

    As torchvision's Resize and CenterCrop do with an image of Pillow: the longer side is rounded
    down, and margins half to even.
    """
    h, w = image.shape[:2]
    short = int(max(height, width) / fraction)
    rows, columns = (int(short * side / min(h, w)) for side in (h, w))
    top, left = round((rows - height) / 2), round((columns - width) / 2)
    window = slice(top, top + height), slice(left, left + width)
    return resize_pillow(image, rows, columns, bicubic=bicubic, window=window)


def _keep_or_resize(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.float32]:
    """Keeps an image of the right size; otherwise crops it to the aspect and resizes it."""
    if image.shape[:2] == (height, width):
        return image.astype(np.float32)
    return _crop_and_resize(image, height, width, 1.0)


def _crop_region(shape: tuple[int, int], height: int, width: int, fraction: float) -> Region:
    h, w = _largest(shape, height, width, fraction)
    return ((shape[0] - h + 1) // 2, (shape[1] - w + 1) // 2, h, w)


def _kept_region(shape: tuple[int, int], height: int, width: int) -> Region:
    return (0, 0, *shape) if shape == (height, width) else _crop_region(shape, height, width, 1.0)


def _shorter_side_region(
    shape: tuple[int, int], height: int, width: int, fraction: float, bicubic: bool
) -> Region:
    (h, w), short = shape, int(max(height, width) / fraction)
    rows, columns = (int(short * side / min(shape)) for side in shape)
    top, left = round((rows - height) / 2), round((columns - width) / 2)
    return (top * h / rows, left * w / columns, height * h / rows, width * w / columns)


# Fit -> the part of an image that it keeps.
_REGIONS: dict[Any, Callable[..., Region]] = {
    _larq_in1k: functools.partial(_crop_region, fraction=224 / 256),
    _crop_and_resize: _crop_region,
    _keep_or_resize: _kept_region,
    _shorter_side: _shorter_side_region,
}


def _scaled(id: str, description: str, mean: float, std: float) -> Preprocessing:
    return Preprocessing(id, description, (mean,), (std,), None, None, _keep_or_resize)


PREPROCESSINGS: dict[str, Preprocessing] = {
    p.id: p
    for p in (
        Preprocessing(
            id="larq_in1k",
            description="central 224/256 crop, TensorFlow 1 bicubic, ImageNet mean and deviation",
            mean=tuple(255 * value for value in IMAGENET_MEAN),
            std=tuple(255 * value for value in IMAGENET_STD),
            size=(224, 224),
            channels=3,
            fit=_larq_in1k,
            resize=resize_bicubic_tf1,
        ),
        *(
            Preprocessing(
                id=id,
                description=f"shorter side {side}, {filter}, center 224, ImageNet mean, deviation",
                mean=tuple(255 * value for value in IMAGENET_MEAN),
                std=tuple(255 * value for value in IMAGENET_STD),
                size=(224, 224),
                channels=3,
                fit=functools.partial(
                    _shorter_side, fraction=fraction, bicubic=filter == "bicubic"
                ),
                resize=functools.partial(resize_pillow, bicubic=filter == "bicubic"),
            )
            for id, side, filter, fraction in (
                ("torchvision_in1k", 256, "bilinear", 0.875),
                ("timm_in1k", 235, "bicubic", 0.95),
            )
        ),
        Preprocessing(
            id="torchvision_cifar10",
            description="(x / 255 - mean) / deviation of CIFAR-10; other sizes: crop, bilinear",
            mean=tuple(255 * value for value in CIFAR10_MEAN),
            std=tuple(255 * value for value in CIFAR10_STD),
            size=None,
            channels=3,
            fit=_keep_or_resize,
        ),
        _scaled("scale_pm1", "x / 127.5 - 1; other sizes: central crop, bilinear", 127.5, 127.5),
        _scaled("scale_01", "x / 255; other sizes: central crop, bilinear", 0.0, 255.0),
        _scaled("raw", "x; other sizes: central crop, bilinear", 0.0, 1.0),
    )
}


def normalization(
    mean: Sequence[float],
    std: Sequence[float],
    size: tuple[int, int] | None = None,
    crop: float = 1.0,
) -> Preprocessing:
    """Returns a custom preprocessing: y = (x / 255 - mean) / std.

    Images of another size are cropped centrally to the aspect of the result, and resized with an
    antialiased bilinear filter. The id contains all settings, and files store only the id.

    Args:
        mean: In [0, 1], one number for all channels or three.
        std: Above 0, likewise.
        size: `(height, width)` of the result, for models whose input has no fixed size.
        crop: Share of the sides of the largest central part that is kept, such as 224 / 256. With
            1, images of the right size are not changed.

    Raises:
        ArgumentError: A number is out of range.
    """
    for name, values, least, most in (("mean", mean, 0, 1), ("std", std, 1e-6, 10)):
        if len(values) not in (1, 3) or not all(least <= value <= most for value in values):
            raise ArgumentError(
                f"{name} must be 1 or 3 numbers from {least:g} to {most}, got {_numbers(values)}. "
                "It applies to pixels from 0 to 1: divide values for pixels up to 255 by 255."
            )
    if not 0 < crop <= 1 or (size is not None and not all(0 < n <= MAX_SIDE for n in size)):
        raise ArgumentError(
            f"crop must be above 0 and at most 1, and size from 1 to {MAX_SIDE}, got {crop:g} and "
            f"{size}."
        )
    id = f"mean={_numbers(mean)}:std={_numbers(std)}"
    id += "" if size is None else f":size={size[0]}x{size[1]}"
    id += "" if crop == 1 else f":crop={crop!r}"
    return Preprocessing(
        id=id,
        description="(x / 255 - mean) / std; other sizes: central crop, bilinear",
        mean=tuple(255 * value for value in mean),
        std=tuple(255 * value for value in std),
        size=size,
        channels=3 if len(mean) == 3 or len(std) == 3 else None,
        fit=_keep_or_resize if crop == 1 else functools.partial(_crop_and_resize, fraction=crop),
    )


def _numbers(values: Sequence[float]) -> str:
    return ",".join(repr(float(value)) for value in values)


def _parsed(id: str) -> Preprocessing:
    """Parses the id of a custom preprocessing."""
    settings = dict(part.partition("=")[::2] for part in id.split(":"))
    try:
        if not {"mean", "std"} <= set(settings) <= {"mean", "std", "size", "crop"}:
            raise ValueError(id)
        mean, std = ([float(n) for n in settings[key].split(",")] for key in ("mean", "std"))
        size = _size(settings["size"]) if "size" in settings else None
        crop = float(settings.get("crop", 1))
    except ValueError as error:
        raise ArgumentError(
            "A preprocessing must be mean=M:std=S, optionally with size=HxW and crop=F, got "
            f"'{id:.200}'. M and S are one number or three, such as 0.485,0.456,0.406."
        ) from error
    return normalization(mean, std, size, crop)


def _size(text: str) -> tuple[int, int]:
    """Returns the height and width of `224x224`, or of `224`."""
    height, width = (2 * [int(side) for side in text.split("x")])[:2]
    if text.count("x") > 1:
        raise ValueError(text)
    return height, width


def get(id: str, input_shape: Sequence[int | None] | None = None) -> Preprocessing:
    """Returns a preprocessing by its id.

    Args:
        id: One of `PREPROCESSINGS`, or an id made by `normalization`.
        input_shape: `(h, w, c)` of the model. None, or a None in it, takes the preprocessing's
            own: 224 x 224 x 3 for `larq_in1k`, that of the images for the others.

    Raises:
        ArgumentError: The id is unknown, or its preprocessing cannot make that shape.
    """
    if "=" not in id and id not in PREPROCESSINGS:
        hint = did_you_mean(id, PREPROCESSINGS)
        known = ", ".join(PREPROCESSINGS)
        raise ArgumentError(
            f"Unknown preprocessing '{id}'.{hint} Available: {known}, and mean=M:std=S."
        )
    found = _parsed(id) if "=" in id else PREPROCESSINGS[id]
    if input_shape is None:
        return found
    if len(input_shape) != 3:
        raise ArgumentError(
            f"input_shape must be (height, width, channels), got {tuple(input_shape)}. "
            "Only images can be preprocessed."
        )
    height, width, channels = input_shape
    if channels not in (None, 1, 3) or (found.channels == 3 and channels == 1):
        allowed = "3" if found.channels == 3 else "1 or 3"
        raise ArgumentError(
            f"Channels for preprocessing '{id}' must be {allowed}, got {channels}. "
            "Choose another preprocessing or model."
        )
    size = (height, width) if height and width else found.size
    return replace(found, size=size, channels=channels or found.channels)


def known_id(chosen: str | Preprocessing) -> str | None:
    """Returns the id that defines a preprocessing; None if it has a custom `fit`.

    Raises:
        ArgumentError: The id is unknown.
    """
    if not isinstance(chosen, Preprocessing):
        return get(chosen).id
    if chosen.id in PREPROCESSINGS or "=" in chosen.id:
        return chosen.id
    mean, std = ([value / 255 for value in values] for values in (chosen.mean, chosen.std))
    if chosen.fit is _keep_or_resize and chosen.resize is resize_bilinear:
        with contextlib.suppress(ArgumentError):
            return normalization(mean, std, chosen.size).id
    logger.warning("Preprocessing '%s' is not saved: no id describes it.", chosen.id)
    return None
