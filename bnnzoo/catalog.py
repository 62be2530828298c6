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
        task: `classification` or `segmentation`.
    """

    module: str
    params: int
    packed_bytes: int
    input_shape: tuple[int, int, int] = (224, 224, 3)
    num_classes: int = 1000
    aliases: tuple[str, ...] = ()
    task: str = "classification"


CATALOG: dict[str, CatalogEntry] = {
    "adabin_resnet18": CatalogEntry("adabin", 11_709_000, 4_224_800),
    "adabin_resnet20": CatalogEntry("adabin", 272_766, 49_400, (32, 32, 3), 10),
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
    "bnext_large": CatalogEntry("bnext", 326_719_312, 111_318_336),
    "bnext_middle": CatalogEntry("bnext", 134_591_542, 48_745_528),
    "bnext_small": CatalogEntry("bnext", 68_646_742, 27_992_248),
    "bnext_tiny": CatalogEntry("bnext", 30_896_988, 13_932_016),
    "dorefanet": CatalogEntry("dorefanet", 62_403_912, 23_909_664),
    "groupnet18": CatalogEntry("groupnet", 55_702_447, 9_138_364),
    "groupnet18_scales": CatalogEntry("groupnet", 55_702_551, 9_138_780),
    "groupnet18_segmentation": CatalogEntry(
        "groupnet", 55_782_492, 9_457_520, num_classes=21, task="segmentation"
    ),
    "meliusnet22": CatalogEntry("meliusnet", 6_969_672, 4_065_568),
    "meliusnet23": CatalogEntry("meliusnet", 8_217_544, 3_895_840),
    "meliusnet29": CatalogEntry("meliusnet", 11_368_776, 5_315_872),
    "meliusnet42": CatalogEntry("meliusnet", 26_918_984, 10_594_080),
    "meliusnet59": CatalogEntry("meliusnet", 55_747_528, 18_234_400),
    "meliusnet_a": CatalogEntry("meliusnet", 9_272_648, 4_243_744),
    "meliusnet_b": CatalogEntry("meliusnet", 12_283_208, 5_245_216),
    "meliusnet_c": CatalogEntry("meliusnet", 12_284_616, 4_678_176),
    "quicknet": CatalogEntry("quicknet", 13_243_720, 4_368_032),
    "quicknet_large": CatalogEntry("quicknet", 23_359_304, 5_660_320),
    "quicknet_small": CatalogEntry("quicknet", 12_664_344, 4_197_152),
    "reactnet_a": CatalogEntry("reactnet", 29_365_480, 7_893_280),
    "reactnet_cifar": CatalogEntry("reactnet", 1_154_506, 179_496, (32, 32, 3), 10),
    "reactnet_resnet18": CatalogEntry("reactnet", 11_714_024, 4_248_992),
    "reactnet_resnet34": CatalogEntry("reactnet", 21_844_456, 5_600_672),
    "real_to_binary": CatalogEntry("real_to_binary", 11_995_624, 5_378_976),
    "resnet_e18": CatalogEntry("resnet_e", 11_699_368, 4_189_856),
    "xnornet": CatalogEntry("xnornet", 62_396_768, 23_880_320),
    "xnornet_vgg": CatalogEntry("xnornet", 14_056_960, 1_899_008, (32, 32, 3), 10),
}
