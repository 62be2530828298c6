"""Facts about every built-in model, available without importing Keras.

A test builds every model and compares it with its row.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CATALOG", "CatalogEntry"]


@dataclass(frozen=True)
class CatalogEntry:
    """One built-in architecture with its default arguments.

    Attributes:
        module: The module of `bnnzoo.architectures` that registers it.
        params: Number of parameters.
        packed_bytes: Bytes of the parameters when binary kernels take one bit a weight.
        input_shape: `(h, w, c)` that the two figures are for.
        num_classes: Number of classes that they are for.
        aliases: Other names.
    """

    module: str
    params: int
    packed_bytes: int
    input_shape: tuple[int, int, int] = (224, 224, 3)
    num_classes: int = 1000
    aliases: tuple[str, ...] = ()


CATALOG: dict[str, CatalogEntry] = {
    "binary_alexnet": CatalogEntry("binarynet", 61_859_192, 7_812_248),
    "binary_densenet28": CatalogEntry("binary_densenet", 5_150_504, 4_241_312),
    "binary_densenet37": CatalogEntry("binary_densenet", 8_734_120, 5_382_304),
    "binary_densenet37_dilated": CatalogEntry("binary_densenet", 8_734_120, 5_382_304),
    "binary_densenet45": CatalogEntry("binary_densenet", 13_939_240, 7_703_968),
    "binarynet": CatalogEntry("binarynet", 14_037_416, 1_783_552, (32, 32, 3), 10),
    "binarynet_mlp": CatalogEntry("binarynet", 10_039_336, 1_301_072, (28, 28, 1), 10),
    "birealnet18": CatalogEntry("birealnet", 11_699_112, 4_189_344, aliases=("birealnet",)),
    "birealnet20": CatalogEntry("birealnet", 274_042, 54_248, (32, 32, 3), 10),
    "birealnet34": CatalogEntry("birealnet", 21_814_696, 5_481_632),
    "dorefanet": CatalogEntry("dorefanet", 62_403_912, 23_909_664),
    "meliusnet22": CatalogEntry("meliusnet", 6_969_672, 4_065_568),
    "quicknet": CatalogEntry("quicknet", 13_243_720, 4_368_032),
    "quicknet_large": CatalogEntry("quicknet", 23_359_304, 5_660_320),
    "quicknet_small": CatalogEntry("quicknet", 12_664_344, 4_197_152),
    "reactnet_resnet20": CatalogEntry("reactnet", 272_394, 48_424, (32, 32, 3), 10),
    "real_to_binary": CatalogEntry("real_to_binary", 11_995_624, 5_378_976),
    "resnet_e18": CatalogEntry("resnet_e", 11_699_368, 4_189_856),
    "xnornet": CatalogEntry("xnornet", 62_396_768, 23_880_320),
    "xnornet_vgg": CatalogEntry("xnornet", 14_056_960, 1_899_008, (32, 32, 3), 10),
}
