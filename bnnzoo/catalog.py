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
        binary_macs: Multiply-accumulates of two binary factors, for one image.
        other_macs: All other multiply-accumulates.
        input_shape: `(h, w, c)` that these figures are for.
        num_classes: Number of classes that they are for.
        aliases: Other names.
        task: `classification` or `segmentation`.
    """

    module: str
    params: int
    packed_bytes: int
    binary_macs: int
    other_macs: int
    input_shape: tuple[int, int, int] = (224, 224, 3)
    num_classes: int = 1000
    aliases: tuple[str, ...] = ()
    task: str = "classification"


CATALOG: dict[str, CatalogEntry] = {
    "adabin_resnet18": CatalogEntry("adabin", 11_709_000, 4_224_800, 1_676_279_808, 137_793_536),
    "adabin_resnet20": CatalogEntry(
        "adabin", 272_766, 49_400, 40_108_032, 443_008, (32, 32, 3), 10
    ),
    "binary_alexnet": CatalogEntry("binarynet", 61_859_192, 7_812_248, 768_512_000, 72_855_552),
    "binary_densenet28": CatalogEntry(
        "binary_densenet", 5_150_504, 4_241_312, 3_587_383_296, 202_484_224
    ),
    "binary_densenet37": CatalogEntry(
        "binary_densenet", 8_734_120, 5_382_304, 4_506_808_320, 199_738_368
    ),
    "binary_densenet37_dilated": CatalogEntry(
        "binary_densenet", 8_734_120, 5_382_304, 7_774_470_144, 452_625_408
    ),
    "binary_densenet45": CatalogEntry(
        "binary_densenet", 13_939_240, 7_703_968, 6_430_556_160, 244_103_424
    ),
    "binarynet": CatalogEntry(
        "binarynet", 14_037_416, 1_783_552, 613_427_200, 3_538_944, (32, 32, 3), 10
    ),
    "binarynet_mlp": CatalogEntry(
        "binarynet", 10_039_336, 1_301_072, 8_409_088, 1_605_632, (28, 28, 1), 10
    ),
    "birealnet18": CatalogEntry(
        "birealnet", 11_699_112, 4_189_344, 1_676_279_808, 137_793_536, aliases=("birealnet",)
    ),
    "birealnet20": CatalogEntry("birealnet", 274_042, 54_248, 40_108_032, 705_152, (32, 32, 3), 10),
    "birealnet34": CatalogEntry("birealnet", 21_814_696, 5_481_632, 3_525_967_872, 137_793_536),
    "bnext_large": CatalogEntry("bnext", 326_719_312, 111_318_336, 52_150_927_360, 39_418_880),
    "bnext_middle": CatalogEntry("bnext", 134_591_542, 48_745_528, 20_086_456_320, 24_262_080),
    "bnext_small": CatalogEntry("bnext", 68_646_742, 27_992_248, 10_838_016_000, 21_128_640),
    "bnext_tiny": CatalogEntry("bnext", 30_896_988, 13_932_016, 4_816_896_000, 13_344_512),
    "dorefanet": CatalogEntry("dorefanet", 62_403_912, 23_909_664, 0, 3_049_637_888),
    "groupnet18": CatalogEntry("groupnet", 55_702_447, 9_138_364, 8_477_736_960, 118_525_952),
    "groupnet18_scales": CatalogEntry(
        "groupnet", 55_702_551, 9_138_780, 8_477_736_960, 118_525_952
    ),
    "groupnet18_segmentation": CatalogEntry(
        "groupnet",
        55_782_492,
        9_457_520,
        45_471_498_240,
        582_543_360,
        num_classes=21,
        task="segmentation",
    ),
    "meliusnet22": CatalogEntry("meliusnet", 6_969_672, 4_065_568, 4_624_220_160, 136_388_608),
    "meliusnet23": CatalogEntry("meliusnet", 8_217_544, 3_895_840, 2_532_483_072, 74_543_616),
    "meliusnet29": CatalogEntry("meliusnet", 11_368_776, 5_315_872, 5_469_585_408, 129_491_968),
    "meliusnet42": CatalogEntry("meliusnet", 26_918_984, 10_594_080, 9_692_798_976, 175_066_368),
    "meliusnet59": CatalogEntry("meliusnet", 55_747_528, 18_234_400, 18_316_247_040, 247_074_048),
    "meliusnet_a": CatalogEntry("meliusnet", 9_272_648, 4_243_744, 4_851_818_496, 87_401_216),
    "meliusnet_b": CatalogEntry("meliusnet", 12_283_208, 5_245_216, 5_722_472_448, 107_127_296),
    "meliusnet_c": CatalogEntry("meliusnet", 12_284_616, 4_678_176, 4_353_269_760, 82_885_376),
    "quicknet": CatalogEntry("quicknet", 13_243_720, 4_368_032, 1_849_688_064, 29_651_712),
    "quicknet_large": CatalogEntry("quicknet", 23_359_304, 5_660_320, 3_699_376_128, 29_651_712),
    "quicknet_small": CatalogEntry("quicknet", 12_664_344, 4_197_152, 1_156_055_040, 15_941_120),
    "reactnet_a": CatalogEntry("reactnet", 29_365_480, 7_893_280, 4_816_896_000, 11_862_016),
    "reactnet_cifar": CatalogEntry(
        "reactnet", 1_154_506, 179_496, 94_371_840, 1_772_032, (32, 32, 3), 10
    ),
    "reactnet_resnet18": CatalogEntry(
        "reactnet", 11_714_024, 4_248_992, 1_676_279_808, 137_793_536
    ),
    "reactnet_resnet34": CatalogEntry(
        "reactnet", 21_844_456, 5_600_672, 3_525_967_872, 137_793_536
    ),
    "real_to_binary": CatalogEntry(
        "real_to_binary", 11_995_624, 5_378_976, 1_676_279_808, 138_087_936
    ),
    "resnet_e18": CatalogEntry("resnet_e", 11_699_368, 4_189_856, 1_676_279_808, 137_793_536),
    "xnornet": CatalogEntry("xnornet", 62_396_768, 23_880_320, 1_025_744_896, 113_379_328),
    "xnornet_vgg": CatalogEntry(
        "xnornet", 14_056_960, 1_899_008, 613_416_960, 3_549_184, (32, 32, 3), 10
    ),
}
