"""Names, aliases, tags, duplicates and plug-ins, without building a model."""

from __future__ import annotations

import subprocess
import sys

import pytest

import bnnzoo
from bnnzoo import registry
from bnnzoo.catalog import CATALOG
from bnnzoo.errors import UnknownModelError, WeightsError

NAMES = [
    "adabin_resnet18",
    "adabin_resnet20",
    "binary_alexnet",
    "binary_densenet28",
    "binary_densenet37",
    "binary_densenet37_dilated",
    "binary_densenet45",
    "binarynet",
    "binarynet_mlp",
    "birealnet18",
    "birealnet20",
    "birealnet34",
    "bnext_large",
    "bnext_middle",
    "bnext_small",
    "bnext_tiny",
    "dorefanet",
    "groupnet18",
    "groupnet18_scales",
    "groupnet18_segmentation",
    "meliusnet22",
    "meliusnet23",
    "meliusnet29",
    "meliusnet42",
    "meliusnet59",
    "meliusnet_a",
    "meliusnet_b",
    "meliusnet_c",
    "quicknet",
    "quicknet_large",
    "quicknet_small",
    "reactnet_a",
    "reactnet_cifar",
    "reactnet_resnet18",
    "reactnet_resnet34",
    "real_to_binary",
    "resnet_e18",
    "xnornet",
    "xnornet_vgg",
]
MISSES = {
    "birealnet-18": "Unknown model 'birealnet-18'. Did you mean 'birealnet18'? `bnnzoo list`",
    "Quicknet": "Did you mean 'quicknet'?",
    "resnet50": "Did you mean 'resnet_e18'?",
    "zzz": "Unknown model 'zzz'. `bnnzoo list` shows all 39.",
    "quicknet.best": "Model 'quicknet' has no weights tagged 'best'. It has: larq_in1k.",
    "quicknet.": "Model 'quicknet' has no weights tagged ''. It has: larq_in1k.",
    "birealnet34.x": "Model 'birealnet34' has no weights tagged 'x'. It has no pretrained weights.",
}


def test_every_name_of_the_design_is_listed():
    assert bnnzoo.list_models() == NAMES


def test_list_filters_by_pattern_and_by_weights():
    assert bnnzoo.list_models("res*") == ["resnet_e18"]
    assert bnnzoo.list_models("nothing*") == []
    assert "birealnet34" not in bnnzoo.list_models(pretrained=True)
    assert "birealnet18" in bnnzoo.list_models(pretrained=True)


@pytest.mark.parametrize("name", MISSES)
def test_unknown_name_suggests_what_to_do(name):
    with pytest.raises(UnknownModelError) as caught:
        registry.resolve(name)
    assert MISSES[name] in str(caught.value)


def test_alias_and_tag_are_resolved():
    assert registry.resolve("birealnet") == ("birealnet18", None)
    architecture, record = registry.resolve("birealnet.larq_in1k")
    assert (architecture, record.name) == ("birealnet18", "birealnet18.larq_in1k")


def test_info_has_catalog_and_weights():
    info = bnnzoo.info("birealnet")
    assert info.name == "birealnet18" and info.aliases == ("birealnet",)
    assert info.params == CATALOG["birealnet18"].params
    assert info.default_tag == info.tags[0] == "larq_in1k"
    assert info.headline.top1 == 57.47 and info.headline.origin == "published"


def test_infos_repr_is_short():
    assert repr(bnnzoo.info("birealnet34")) == "<ModelInfo: birealnet34, 21,814,696 parameters>"
    assert "larq_in1k" in repr(bnnzoo.info("birealnet18"))


def test_info_of_a_model_without_weights():
    info = bnnzoo.info("birealnet34")
    assert info.tags == () and info.default_tag is None and info.headline is None


@pytest.mark.parametrize("name", CATALOG)
def test_every_model_has_a_paper(name):
    assert bnnzoo.info(name).paper.startswith("https://")


@pytest.fixture
def restored_registry(monkeypatch):
    """Undoes what a test registers."""
    monkeypatch.setattr(registry, "_BUILDERS", dict(registry._BUILDERS))
    monkeypatch.setattr(registry, "_ALIASES", dict(registry._ALIASES))


@pytest.mark.usefixtures("restored_registry")
def test_a_new_model_is_one_decorator():
    @registry.register_model(aliases=("mine",))
    def my_net(input_shape=(8, 8, 1), num_classes=2, include_top=True):
        return None

    assert "my_net" in bnnzoo.list_models()
    assert registry.resolve("mine").architecture == "my_net"
    assert bnnzoo.builder("mine") is my_net
    assert bnnzoo.info("mine").params is None


@pytest.mark.usefixtures("restored_registry")
def test_duplicates_are_errors():
    def quicknet():
        return None

    def my_net():
        return None

    with pytest.raises(ValueError, match="'quicknet' must be unique, but bnnzoo has it"):
        registry.register_model(quicknet)
    with pytest.raises(ValueError, match="'birealnet' must be unique, but bnnzoo has it"):
        registry.register_model(aliases=("birealnet",))(my_net)
    registry.register_model(my_net)
    other = type(my_net)(my_net.__code__, {"__name__": "elsewhere"}, "my_net")
    with pytest.raises(ValueError, match=r"'my_net' must be unique, but .*my_net has it"):
        registry.register_model(other)
    registry.register_model(my_net)  # the same function again, as when a module is reloaded


PLUGIN = """
from keras import layers
from bnnzoo.architectures.assembly import assemble, image_input
from bnnzoo.registry import register_model

@register_model
def plugin_net(input_shape=(8, 8, 1), num_classes=2, include_top=True):
    inputs = image_input(input_shape, minimum=4, name="plugin_net")
    x = layers.Conv2D(3, 3, strides=2, padding="same")(inputs)
    y = layers.Dense(num_classes)(layers.Flatten()(x)) if include_top else x
    return assemble(inputs, y, stages=[x], name="plugin_net")
"""


def test_another_package_joins_by_its_entry_point(tmp_path):
    (tmp_path / "plugin_pkg.py").write_text(PLUGIN)
    metadata = tmp_path / "plugin_pkg-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin-pkg\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[bnnzoo.models]\nplugin_net = plugin_pkg:plugin_net\n"
    )
    code = (
        "import bnnzoo, sys; assert 'plugin_net' in bnnzoo.list_models('plug*');"
        "assert 'plugin_pkg' not in sys.modules;"
        "print(bnnzoo.load('plugin_net', num_classes=5).output_shape)"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys; sys.path.append({str(tmp_path)!r}); {code}",
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "(None, 5)"


def test_weights_that_a_person_must_get_are_not_downloaded():
    message = r"reactnet_a\.liuzechun_in1k are not downloaded.* from https://.*bnnzoo import FILE"
    with pytest.raises(WeightsError, match=message):
        registry.pretrained_record("reactnet_a")
    assert "reactnet_a" not in registry.list_models(pretrained=True)


def test_an_accuracy_without_a_checkpoint_is_no_pretrained_weights():
    with pytest.raises(UnknownModelError, match="'meliusnet59' has no pretrained weights"):
        registry.pretrained_record("meliusnet59.hpi_in1k")
    assert registry.info("meliusnet59").headline.top1 == 70.7
