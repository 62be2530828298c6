"""The card of a network on the Hub: front matter for its search, and text for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bnnzoo import registry
from bnnzoo.errors import UnknownModelError
from bnnzoo.formats.packed import PackedFile
from bnnzoo.hub_addresses import NETWORK, import_hub
from bnnzoo.plain_text import plain

__all__ = ["Score", "card"]

_TASKS = {"classification": "image-classification", "segmentation": "image-segmentation"}


@dataclass(frozen=True)
class Score:
    """A measured accuracy.

    Attributes:
        dataset: Name of the data set, such as `keras:cifar10:test`.
        n: Number of its images.
        metric: `top-1` or `mean IoU`.
        value: Percentage.
        command: Command that measures it.
    """

    dataset: str
    n: int
    metric: str
    value: float
    command: str | None


def card(file: PackedFile, sha256: str, name: str, scores: Sequence[Score]) -> str:
    """Returns the text of a card.

    Args:
        file: The packed network.
        sha256: Digest of its file.
        name: `owner/name` of the repository.
        scores: Its accuracies.

    Raises:
        MissingDependencyError: The package `huggingface_hub` is not installed.
    """
    hub, info = import_hub(), file.info
    task = _TASKS[info.task or "classification"]
    title = ".".join(filter(None, [info.name, info.tag]))
    results = [
        hub.EvalResult(
            task_type=task, dataset_type=_plain_name(score.dataset), dataset_name=score.dataset,
            metric_type="accuracy" if score.metric == "top-1" else "mean_iou",
            metric_name=score.metric, metric_value=round(score.value, 4),
        )
        for score in scores
    ]  # fmt: skip
    fields = {
        "library_name": "bnnzoo",
        "license": info.licence and info.licence.lower(),
        "pipeline_tag": task,
        "tags": ["binarized-neural-network"],
        "datasets": sorted({_plain_name(score.dataset) for score in scores}) or None,
        "metrics": ["accuracy"] if scores else None,
        "model_name": title if scores else None,
        "eval_results": results or None,
        "bnnzoo": {"sha256": sha256},
    }
    data = hub.ModelCardData(**{key: value for key, value in fields.items() if value})
    facts = {
        "Architecture": info.name,
        "Weights": info.tag,
        "Paper": _paper(info.name),
        "Input": ", ".join(" x ".join(map(str, shape)) for shape in file.graph.inputs.values()),
        "Classes": f"{len(info.labels):,}" if info.labels else None,
        "Preprocessing": info.preprocessing,
        "Licence": info.licence,
        "sha256": f"`{sha256}`",
    }
    rows = [f"| {key} | {plain(value)} |" for key, value in facts.items() if value]
    lines = [
        f"---\n{data.to_yaml().strip()}\n---\n",
        f"# {title}\n",
        f"A binarized neural network, packed by bnnzoo {info.versions.get('bnnzoo', '')}: binary "
        "weights take one bit.\n",
        "| | |\n|---|---|\n" + "\n".join(rows) + "\n",
    ]
    if info.random_weights:
        lines.append("**The weights are random: this network was never trained.**\n")
    if scores:
        measured = [
            f"| {plain(s.dataset)} | {s.n:,} | {s.metric} | {s.value:.2f} % |" for s in scores
        ]
        commands = [plain(score.command) for score in scores if score.command]
        lines.append(
            "| Data | Images | Metric | |\n|---|--:|---|--:|\n" + "\n".join(measured) + "\n"
        )
        lines += ["```sh\n" + "\n".join(commands) + "\n```\n"] if commands else []
    lines.append(
        "```python\nimport bnnzoo\n\n"
        f'model = bnnzoo.load("hf://{name}")  # a Keras model, to train on\n'
        f'scores = bnnzoo.runtime.load("{NETWORK}").predict(images)  # without Keras\n```\n'
    )
    return "\n".join(lines)


def _plain_name(dataset: str) -> str:
    """Returns `cifar10` of `keras:cifar10:test`."""
    parts = [part for part in dataset.split(":") if part not in ("keras", "tfds", "test", "sample")]
    return plain(parts[0] if parts else dataset)


def _paper(name: str) -> str | None:
    try:
        return registry.info(name).paper
    except UnknownModelError:
        return None
