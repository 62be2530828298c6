"""Writes docs/models.md, a card for each set of weights in docs/models/, and docs/results.csv.

    python scripts/make_models_page.py

Everything comes from the registry, the manifest and docs/comparison.json. tests/test_docs.py fails
if a file is out of date. `scripts/make_models_plot.py` draws the plot.
"""

from __future__ import annotations

import ast
import csv
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from bnnzoo import manifest, registry
from bnnzoo.evaluation.report import wilson_interval
from bnnzoo.manifest import Metric, TrainingRun, WeightsFile, WeightsRecord
from bnnzoo.result_table import Result, result, results
from bnnzoo.tables import Table
from bnnzoo.training.recipes import RECIPES
from bnnzoo.training.recipes.schema import Recipe

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
# Times and sizes of the networks for ImageNet, written by `benchmarks/comparison.py`.
MEASURED = json.loads((DOCS / "comparison.json").read_text())
GENERATED = "---\n# Written by scripts/make_models_page.py.\n{extra}---\n"

PAGE = (
    GENERATED.format(extra="hide:\n  - toc\n")
    + """
# Models

{models} architectures, {weights} sets of weights. `bnnzoo list` prints them, [`bnnzoo
compare`](command_line.md#compare) measures them on your machine, and [results.csv](results.csv)
has this table for programs.

<div class="wide" markdown>
![Top-1 accuracy of all networks for ImageNet against the time for one image, the size of the packed
file, and binary multiply-accumulates, on logarithmic axes. Newer networks are more accurate, larger
and slower.](models.svg)
</div>

The plots name the networks that no other network beats in both accuracy and cost. [What to use
instead](benchmarks.md#what-to-use-instead) compares with float and int8 networks.

<div class="models" markdown>

{table}

</div>

*Published* accuracies are those of the papers' authors or of Larq Zoo, and have not been checked by
this project; *measured* ones have been, on all test images. Each name leads to a card with its
origin, files, and the commands that repeat its figures. MACs are multiply-accumulates for one
image; binary ones multiply two binary values. The packed size is that of the file, or that of the
parameters if there is no packed file. Times are for one image on one thread of an {cpu} with {isa}
kernels, minima of interleaved rounds on a shared machine, {date}:

```sh
python -m benchmarks.networks networks
python -m benchmarks.comparison networks docs/comparison.json
```

## Own weights

Trained by this project with its own recipes, on CPUs, and shipped with the package. Papers' figures
are those of other recipes and partly of other widths, for networks of this kind on the same data.

{own}

These recipes have not been trained to their end. All have been tested for two epochs on a small
data set: {untrained}.
"""
)

CARD = (
    GENERATED.format(extra="search:\n  boost: 0.5\n")
    + """
# {name} {{ #{name} }}

{what}

| | |
|---|---|
{facts}

## Accuracy

{accuracy}

{confusion}## Use

{use}

## Files

{files}

{deviations}{training}"""
)

# Top-1 that papers report for a network of this kind on a data set: not measured here.
BINARYNET = "https://arxiv.org/abs/1602.02830"
IR_NET = "https://arxiv.org/abs/1909.10788"
ADABIN = "https://arxiv.org/abs/2208.08084"
RESNET20 = [("86.5", "IR-Net, ResNet-20", IR_NET), ("88.1", "AdaBin, ResNet-20", ADABIN)]
PAPERS = {
    ("binarynet_mlp", "mnist"): [("98.60 to 99.04", "BinaryNet", BINARYNET)],
    ("binarynet", "cifar10"): [
        ("88.60 to 89.85", "BinaryNet", BINARYNET),
        ("92.3", "AdaBin, VGG-small", ADABIN),
    ],
    ("birealnet20", "cifar10"): RESNET20,
    ("reactnet_cifar", "cifar10"): RESNET20,
}
DATA_SETS = {
    "cifar10": "CIFAR-10",
    "fashion_mnist": "Fashion-MNIST",
    "imagenet2012": "ImageNet",
    "mnist": "MNIST",
}


def files() -> dict[Path, str]:
    """Returns every generated file and its text."""
    records = manifest.load().weights.values()
    cards = {DOCS / "models" / f"{record.name}.md": card(record) for record in records}
    return {DOCS / "models.md": page(), DOCS / "results.csv": _rows().to_csv(), **cards}


# The page ----------------------------------------------------------------------------------------


def page() -> str:
    """Returns the Markdown of the page."""
    rows = _rows()
    records = list(manifest.load().weights.values())
    return PAGE.format(
        models=len({row.architecture for row in rows}),
        weights=len(records),
        table=_table(
            "Model|Top-1, %|Data|Whose|Packed, kB|ms|Binary MACs, M|Other MACs, M"
            "|Parameters, M|Input",
            ":-|-:|:-|:-|-:|-:|-:|-:|-:|-:",
            map(_line, rows),
        ),
        own=_table(
            "Weights|Data|Top-1|Papers' top-1|Training|Machine|Packed bytes",
            ":-|:-|-:|:-|:-|:-|-:",
            (_own_line(record) for record in records if _is_own(record)),
        ),
        untrained=", ".join(f"`{recipe.name}`" for recipe in _untrained(records)),
        **{**MEASURED, "isa": MEASURED["isa"].upper()},
    )


def _rows() -> Table[Result]:
    """Returns the results of the built-in models, without those of other installed packages."""
    return Table(
        row for row in results() if registry.info(row.architecture).module.startswith("bnnzoo.")
    )


def _line(row: Result) -> list[str]:
    module = registry.info(row.architecture).module
    link = f"models/{row.name}.md" if row.tag else f"reference/architectures.md#{module}.{row.name}"
    measured = MEASURED["networks"].get(row.architecture) if not row.arguments else None
    return [
        f"[`{row.name}`]({link})",
        "–" if row.top1 is None else f"{row.top1:.1f}",
        "–" if row.dataset is None else _data_set(row.dataset),
        row.origin or "–",
        "–" if row.packed_bytes is None else f"{row.packed_bytes / 1e3:,.0f}",
        "–" if measured is None else f"{measured['ms']:.1f}",
        _millions(row.binary_macs),
        _millions(row.other_macs),
        _millions(row.params),
        "×".join(map(str, row.input_shape or ())),
    ]


def _own_line(record: WeightsRecord) -> list[str]:
    metric, file = record.metrics[0], record.file("packed") or record.files[0]
    run = record.training
    return [
        f"[`{record.name}`](models/{record.name}.md)",
        f"{_data_set(metric.dataset)}, {metric.n:,} images",
        f"{metric.top1:.2f}",
        _papers(record.architecture, record.labels),
        "–" if run is None else f"{run.epochs} epochs, {_duration(run)}, {run.date}",
        "–" if run is None else run.hardware,
        f"{file.bytes:,}" if file.bytes else "–",
    ]


def _is_own(record: WeightsRecord) -> bool:
    """Tells the weights that this repository made, by a path in the place of a URL."""
    return not urlsplit(record.source).netloc and bool(record.metrics)


def _untrained(records: list[WeightsRecord]) -> list[Recipe]:
    """Returns the recipes for small images that no weights come from; of variants, none."""
    made = {record.recipe for record in records}
    small = (recipe for recipe in RECIPES.values() if recipe.data.startswith("keras:"))
    return [recipe for recipe in small if recipe.name not in made and "-" not in recipe.name]


def _papers(architecture: str, labels: str) -> str:
    reported = PAPERS.get((architecture, labels), ())
    return "<br>".join(f"{top1}, [{who}]({url})" for top1, who, url in reported) or "–"


def _data_set(dataset: str) -> str:
    """Returns the usual name of a data set: that of `keras:cifar10:test` is CIFAR-10."""
    names = [DATA_SETS[part] for part in dataset.split(":") if part in DATA_SETS]
    return names[0] if names else f"`{dataset}`"


# The cards ---------------------------------------------------------------------------------------


def card(record: WeightsRecord) -> str:
    """Returns the Markdown of a card: what the weights are, and how each figure is repeated."""
    model = registry.info(record.architecture)
    row = result(model, record)
    what, deviations = _builder_in_words(model.module, model.name)
    reference = f"../reference/architectures.md#{model.module}.{model.name}"
    facts = {
        "Architecture": f"[`{model.name}`]({reference})",
        "Paper": _link(record.paper),
        "Arguments": f"`{row.arguments}`" if row.arguments else None,
        "Task": row.task,
        "Input": "×".join(map(str, row.input_shape or ())),
        "Classes": f"{record.num_classes:,} (`{record.labels}`)",
        "Preprocessing": f"[`{record.preprocessing}`](../images.md)",
        "Parameters": f"{row.params:,}" if row.params else None,
        "Packed": f"{row.packed_bytes:,} bytes" if row.packed_bytes else None,
        "MACs": f"{row.binary_macs:,} binary, {row.other_macs:,} other",
        "Time": _time(row),
        "Licence": f"`{record.licence}`",
        "Trained by": _source(record),
        "Notes": record.notes,
    }
    own = _is_own(record)
    return (
        CARD.format(
            name=record.name,
            what=what,
            facts="\n".join(f"| {key} | {value} |" for key, value in facts.items() if value),
            accuracy=_accuracies(record.name, record.metrics),
            confusion=_confusion(record) if own else "",
            use=_use(record),
            files=_files(record),
            deviations=f"## Differences from the paper\n\n{deviations}\n\n" if deviations else "",
            training=_training(record) if own and record.training else "",
        ).rstrip()
        + "\n"
    )


def _builder_in_words(module: str, name: str) -> tuple[str, str]:
    """Returns the description of a builder, and its deviations, from its docstring."""
    path = ROOT / Path(*module.split(".")).with_suffix(".py")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    (builder,) = (n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == name)
    what, _, rest = (ast.get_docstring(builder) or "").partition("\n\n**Deviations**\n\n")
    deviations = re.match(r"(?:- .*\n?(?:  .*\n?)*)*", rest)
    return what.replace("Builds ", "", 1)[:1].upper() + what.replace("Builds ", "", 1)[1:], (
        deviations[0].strip() if deviations else ""
    )


def _accuracies(name: str, metrics: Sequence[Metric]) -> str:
    if not metrics:
        return "None is known."
    lines = []
    for metric in metrics:
        low, high = wilson_interval(round(metric.top1 * metric.n / 100), metric.n)
        top5 = "–" if metric.top5 is None else f"{metric.top5:.2f}"
        runtime = "packed" if "--runtime packed" in (metric.command or "") else "Keras"
        lines.append([
            f"{metric.top1:.2f}",
            f"{low:.2f} to {high:.2f}",
            top5,
            f"`{metric.dataset}`, n = {metric.n:,}",
            f"{metric.by}, {metric.date}" if metric.date else metric.by,
            f"measured, {runtime}" if metric.command else "published",
        ])  # fmt: skip
    table = _table("Top-1, %|95 % interval|Top-5, %|Data|Whose|", "-:|:-|-:|:-|:-|:-", lines)
    commands = [metric.command for metric in metrics if metric.command]
    if not commands:
        return f"{table}\n\nThis project has not measured them. To do so:\n\n" + _code(
            f"bnnzoo evaluate {name} --data {_public(metrics[0].dataset)}"
        )
    versions = ", ".join(f"{k} {v}" for k, v in metrics[0].versions.items())
    return f"{table}\n\nMeasured by these commands ({versions}):\n\n" + _code(*commands)


def _public(dataset: str) -> str:
    return f"tfds:{dataset}" if dataset.startswith("imagenet2012:") else dataset


def _confusion(record: WeightsRecord) -> str:
    """Returns the confusion matrix, which `bnnzoo evaluate --confusion-matrix` wrote."""
    path = DOCS / "models" / f"{record.name}.confusion.csv"
    if not path.exists():
        return ""
    (_, *names), *rows = csv.reader(path.read_text(encoding="utf-8").splitlines())
    lines = []
    for name, *counts in rows:
        total = sum(map(int, counts))
        cells = "".join(
            f'<td style="--share: {int(count) / total:.3f}">{int(count):,}</td>' for count in counts
        )
        lines.append(f"<tr><th>{name}</th>{cells}</tr>")
    head = "".join(f"<th>{name}</th>" for name in names)
    return (
        "### Confusion matrix\n\nTest images by true class (rows) and predicted class.\n\n"
        '<div class="confusion"><table>\n'
        f"<thead><tr><th></th>{head}</tr></thead>\n<tbody>\n" + "\n".join(lines) + "\n</tbody>\n"
        "</table></div>\n\n"
    )


def _use(record: WeightsRecord) -> str:
    if not record.files:
        place = f"from [its page]({record.page})" if record.page else "from its authors"
        return (
            f"The checkpoint is not downloaded, because its digest is not known. Get it {place}, "
            "then run\n\n"
            + _code(
                f"bnnzoo import CHECKPOINT --as {record.architecture} model.safetensors",
                "bnnzoo evaluate model.safetensors --data FOLDER",
            )
        )
    return (
        "<!-- not run: the images are the reader's -->\n"
        f'```python\nimport bnnzoo\n\nmodel = bnnzoo.load("{record.name}", pretrained=True)\n'
        "scores = model.predict(model.model_spec.preprocess(images))\n"
        "model.model_spec.decode_predictions(scores)\n```\n\n"
        + _code(
            f"bnnzoo predict {record.name} photo.jpg",
            f"bnnzoo convert {record.name} model.safetensors",
            "bnnzoo benchmark model.safetensors",
        )
    )


def _files(record: WeightsRecord) -> str:
    if not record.files:
        return "None."
    rows = [[_place(file), _bytes(file), f"`{file.sha256}`"] for file in record.files]
    return _table("File|Bytes|sha256", ":-|-:|:-", rows)


def _place(file: WeightsFile) -> str:
    return f"[{file.role}]({file.url[0]})" if file.url else f"{file.role}, in the package"


def _bytes(file: WeightsFile) -> str:
    return f"{file.bytes:,}" if file.bytes else "–"


def _training(record: WeightsRecord) -> str:
    run = record.training
    assert run is not None
    settings = " ".join(
        f"--set {key}={json.dumps(value)}" for key, value in record.settings.items()
    )
    versions = ", ".join(f"{k} {v}" for k, v in run.versions.items())
    curve = DOCS / "models" / f"{record.name}.svg"
    picture = f"![Loss, accuracy, flips and learning rate by epoch]({curve.name})\n\n"
    return (
        f"## Training\n\n{run.epochs} epochs in {_duration(run)} on {run.hardware}, {run.date} "
        f"({versions}).\n\n"
        + _code(f"bnnzoo train {record.recipe} {settings}".rstrip())
        + "\n\n"
        + (picture if curve.exists() else "")
        + f"The log is `bnnzoo/{record.log}`.\n"
    )


def _source(record: WeightsRecord) -> str:
    return "this project" if _is_own(record) else _link(record.source)


def _time(row: Result) -> str | None:
    measured = MEASURED["networks"].get(row.architecture)
    if measured is None or row.arguments:
        return None
    where = f"one thread of an {MEASURED['cpu']} with {MEASURED['isa'].upper()}, {MEASURED['date']}"
    return f"{measured['ms']} ms for one image ({where})"


# Both --------------------------------------------------------------------------------------------


def _table(head: str, alignment: str, rows: Iterable[Sequence[str]]) -> str:
    return "\n".join([f"| {line} |" for line in (head, alignment, *map(" | ".join, rows))])


def _code(*lines: str) -> str:
    return "```sh\n" + "\n".join(lines) + "\n```"


def _millions(count: int | None) -> str:
    return "–" if count is None else f"{count / 1e6:,.1f}"


def _duration(run: TrainingRun) -> str:
    minutes = round(run.seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


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


def main() -> None:
    """Writes the files, and removes the cards of weights that are gone."""
    written = files()
    for old in (DOCS / "models").glob("*.md"):
        if old not in written:
            old.unlink()
    for path, text in written.items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
