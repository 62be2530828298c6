"""Writes docs/models.md: every model and every weight file, from registry and manifest.

    python scripts/make_models_page.py

tests/test_docs.py fails if the page is out of date.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from bnnzoo import manifest, registry
from bnnzoo.manifest import Metric, TrainingRun, WeightsFile, WeightsRecord
from bnnzoo.registry import ModelInfo
from bnnzoo.training.recipes import RECIPES
from bnnzoo.training.recipes.schema import Recipe

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "models.md"

HEAD = """\
---
# Written by scripts/make_models_page.py from the registry and weights_manifest.json.
hide:
  - toc
---

# Models

{models} architectures, {weights} sets of weights. `bnnzoo list` prints this table, and
`bnnzoo info NAME` everything known of one model.

## Architectures

Parameters and packed size are those of the input and classes shown, with the builder's default
arguments; packed means that each weight takes the bits of its quantizer and batch normalization
is folded. Accuracies are percentages of the default weights, whose arguments may make another
size. The last column says whose figures they are: *published* by the makers of the weights and
not checked here, or *measured* by this project.

{architectures}

## Own weights

Trained by this project, and shipped with the package where no address is given. Accuracies were
measured on all test images with the weights of the file; `bnnzoo info NAME --json` has the
commands. The papers' figures are *theirs, not checked here*: of networks of this kind on the same
data, by other recipes and partly of other widths. Below stand recipes that no
weights come from yet.

{own}

## Weights

Names are `architecture.tag`. The digests are the first 12 hex digits of the sha256 that every file
is checked against before it is used. [How records get into the manifest](adding_weights.md).

{records}
"""

# Top-1 that papers report for a network of this kind on a data set: not measured here.
BINARYNET = "https://arxiv.org/abs/1602.02830"
IR_NET = "https://arxiv.org/abs/1909.10788"
ADABIN = "https://arxiv.org/abs/2208.08084"
PAPERS = {
    ("binarynet_mlp", "mnist"): [("98.60 to 99.04", "BinaryNet", BINARYNET)],
    ("binarynet", "cifar10"): [
        ("88.60 to 89.85", "BinaryNet", BINARYNET),
        ("92.3", "AdaBin, VGG-small", ADABIN),
    ],
    ("xnornet_vgg", "cifar10"): [("89.83", "XNOR-Net", "https://arxiv.org/abs/1603.05279")],
    ("birealnet18", "cifar10"): [
        ("91.5", "IR-Net, ResNet-18", IR_NET),
        ("92.8", "ReCU, ResNet-18", "https://arxiv.org/abs/2103.12369"),
        ("93.1", "AdaBin, ResNet-18", ADABIN),
    ],
    ("birealnet20", "cifar10"): [
        ("86.5", "IR-Net, ResNet-20", IR_NET),
        ("88.1", "AdaBin, ResNet-20", ADABIN),
    ],
}


def page() -> str:
    """Returns the Markdown of the page."""
    models = [registry.info(name) for name in registry.list_models() if _is_built_in(name)]
    records = list(manifest.load().weights.values())
    return HEAD.format(
        models=len(models),
        weights=len(records),
        architectures=_table(
            "Model|Paper|Input|Classes|Parameters|Packed|Weights|Top-1|Top-5|Whose figures",
            ":-|:-|:-|-:|-:|-:|:-|-:|-:|:-",
            (_model_row(model) for model in models),
        ),
        own=_table(
            "Weights|Data|Top-1|Papers' top-1|Trained|Packed bytes|Recipe",
            ":-|:-|-:|:-|:-|-:|:-",
            [
                *(_own_row(record) for record in records if _is_own(record)),
                *(_untrained_row(recipe) for recipe in _untrained(records)),
            ],
        ),
        records=_table(
            "Weights|Classes|Preprocessing|Files|Accuracy|Licence|Source|Recipe",
            ":-|:-|:-|:-|:-|:-|:-|:-",
            (_record_row(record) for record in records),
        ),
    )


def _is_own(record: WeightsRecord) -> bool:
    """Tells the weights that this repository made, by a path in the place of a URL."""
    return not urlsplit(record.source).netloc and bool(record.metrics)


def _untrained(records: list[WeightsRecord]) -> list[Recipe]:
    """Returns the recipes for small images that no weights come from; of variants, none."""
    made = {record.recipe for record in records}
    small = (recipe for recipe in RECIPES.values() if recipe.data.startswith("keras:"))
    return [recipe for recipe in small if recipe.name not in made and "-" not in recipe.name]


def _untrained_row(recipe: Recipe) -> list[str]:
    return [
        f"– (`{recipe.network}`)",
        f"`{recipe.test_data}`",
        "–",
        _papers(recipe.network, recipe.name.partition(".")[2]),
        f"not yet: {recipe.epochs} epochs need a GPU",
        "–",
        f"`{recipe.name}`<br>tested on two epochs of a small set",
    ]


def _papers(architecture: str, labels: str) -> str:
    reported = PAPERS.get((architecture, labels), ())
    return "<br>".join(f"{top1}, [{who}]({url})" for top1, who, url in reported) or "–"


def _own_row(record: WeightsRecord) -> list[str]:
    metric = record.metrics[0]
    file = record.file("packed") or record.files[0]
    arguments = "".join(f"<br>{name}={value}" for name, value in record.arguments.items())
    return [
        f"[`{record.name}`](#{record.name}){arguments}",
        f"`{metric.dataset}`<br>n = {metric.n:,}",
        f"{metric.top1:.2f}",
        _papers(record.architecture, record.labels),
        _training(record.training) if record.training else "–",
        f"{file.bytes:,}" if file.bytes else "–",
        _recipe(record),
    ]


def _training(run: TrainingRun) -> str:
    minutes = round(run.seconds / 60)
    took = f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
    return f"{run.epochs} epochs, {took}<br>{run.hardware}, {run.date}"


def _recipe(record: WeightsRecord) -> str:
    """Returns the recipe, with what was changed of it, the log and the notes."""
    recipe = _link(record.recipe) if record.recipe else "–"
    changed = "".join(f"<br>`{key}={value}`" for key, value in record.settings.items())
    notes = f"<br>{record.notes}" if record.notes else ""
    log = f"<br>log: `bnnzoo/{record.log}`" if record.log else ""
    return recipe + changed + log + notes


def _is_built_in(name: str) -> bool:
    """Leaves out models that other installed packages register."""
    return registry.info(name).module.startswith("bnnzoo.")


def _table(head: str, alignment: str, rows: Iterable[Sequence[str]]) -> str:
    return "\n".join([f"| {line} |" for line in (head, alignment, *map(" | ".join, rows))])


def _model_row(model: ModelInfo) -> list[str]:
    metric = model.headline
    aliases = "".join(f"<br>also `{alias}`" for alias in model.aliases)
    reference = f"reference/architectures.md#{model.module}.{model.name}"
    return [
        f"[`{model.name}`]({reference}){aliases}",
        _link(model.paper or ""),
        "×".join(map(str, model.input_shape or ())),
        f"{model.num_classes:,}",
        f"{model.params:,}",
        f"{(model.packed_bytes or 0) / 1e6:.2f}\N{NO-BREAK SPACE}MB",
        "<br>".join(map(_tag, model.weights)) or "–",
        _percent(metric.top1 if metric else None),
        _percent(metric.top5 if metric else None),
        f"`{metric.dataset}`, n = {metric.n:,}<br>{_origin(metric)}" if metric else "–",
    ]


def _tag(record: WeightsRecord) -> str:
    arguments = "".join(f"<br>{name}={value}" for name, value in record.arguments.items())
    return f"[`{record.tag}`](#{record.name}){arguments}"


def _record_row(record: WeightsRecord) -> list[str]:
    default = "<br>default" if record.default else ""
    arguments = "".join(f"<br>`{name}={value}`" for name, value in record.arguments.items())
    return [
        f'<a id="{record.name}"></a>`{record.name}`{default}{arguments}',
        f"{record.num_classes:,}<br>`{record.labels}`",
        f"`{record.preprocessing}`",
        "<br>".join(map(_file, record.files)) or _by_hand(record),
        "<br>".join(map(_accuracy, record.metrics)) or "–",
        f"`{record.licence}`",
        _link(record.source),
        _link(record.recipe) if record.recipe else "–",
    ]


def _by_hand(record: WeightsRecord) -> str:
    return f"[by hand]({record.page}), then `bnnzoo import`" if record.page else "none known"


def _file(file: WeightsFile) -> str:
    place = f"[{file.role}]({file.url[0]})" if file.url else f"{file.role}, in the package"
    size = f", {file.bytes:,} bytes" if file.bytes else ""
    return f"{place} `{file.sha256[:12]}`{size}"


def _accuracy(metric: Metric) -> str:
    top5 = "" if metric.top5 is None else f" / {metric.top5:.2f}"
    runtime = ", packed" if "--runtime packed" in (metric.command or "") else ""
    where = f"`{metric.dataset}`{runtime}"
    return f"{metric.top1:.2f}{top5} on {where},<br>n = {metric.n:,}; {_origin(metric)}"


def _origin(metric: Metric) -> str:
    return f"{metric.origin}: {metric.by}" + (f", {metric.date}" if metric.date else "")


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _link(target: str) -> str:
    """Returns a link with a short text; a path in the repository stays a path."""
    url = urlsplit(target)
    if not url.netloc:
        return f"`{target}`"
    arxiv = re.fullmatch(r"/(?:abs|pdf)/(.+?)(?:\.pdf)?", url.path)
    if url.netloc == "arxiv.org" and arxiv:
        return f"[arXiv:{arxiv[1]}]({target})"
    if url.netloc == "github.com":
        return f"[{'/'.join(url.path.split('/')[1:3])}]({target})"
    return f"[{url.netloc.removeprefix('www.')}]({target})"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
