"""Claim: `predict` gives the best classes of image files, with names and probabilities."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bnnzoo.errors import ArgumentError, DataError
from bnnzoo.evaluation.prediction import predict
from tests.evaluation.centroid_network import centroid_network, centroid_scores, sample


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("images")
    paths = [folder / f"{i}.png" for i in range(20)]
    for path, image in zip(paths, sample()[0], strict=False):
        Image.fromarray(image).save(path)
    return paths


@pytest.mark.parametrize("activation", [None, "softmax"])
def test_probabilities_equal_numpy(files: list[Path], activation: str | None) -> None:
    scores = centroid_scores()[:20]
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    found = predict(centroid_network(activation), files, top=3, preprocessing="scale_pm1")
    assert [result.file for result in found] == [str(path) for path in files]
    for result, row in zip(found, shares, strict=True):
        best = np.argsort(-row)[:3]
        assert [p.class_index for p in result.predictions] == best.tolist()
        np.testing.assert_allclose([p.score for p in result.predictions], row[best], rtol=1e-3)
        assert result.predictions[0].name == f"class {best[0]}"


def test_a_colour_photo_of_another_size_is_fitted(tmp_path: Path) -> None:
    photo = Image.fromarray(np.zeros((300, 200, 3), dtype=np.uint8))
    photo.save(tmp_path / "photo.jpg")
    found = predict(centroid_network(), [tmp_path / "photo.jpg"], top=99, preprocessing="scale_pm1")
    assert sorted(p.class_index for p in found[0].predictions) == list(range(10))
    assert sum(p.score for p in found[0].predictions) == pytest.approx(1)


def test_what_cannot_be_predicted(tmp_path: Path, files: list[Path]) -> None:
    with pytest.raises(ArgumentError, match="top must be a positive integer, got 0"):
        predict(centroid_network(), files, top=0, preprocessing="scale_pm1")
    with pytest.raises(ArgumentError, match="at least one image, got none"):
        predict(centroid_network(), [], preprocessing="scale_pm1")
    with pytest.raises(DataError, match=r"There is no image .*gone\.png"):
        predict(centroid_network(), [tmp_path / "gone.png"], preprocessing="scale_pm1")


def test_skip_bad_leaves_broken_files_out(
    tmp_path: Path, files: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "broken.png").write_bytes(b"")
    paths = [files[0], tmp_path / "broken.png", tmp_path / "gone.png", files[1]]
    found = predict(centroid_network(), paths, preprocessing="scale_pm1", skip_bad=True)
    assert [result.file for result in found] == [str(files[0]), str(files[1])]
    assert "broken.png is not a readable image" in caplog.text
    assert "There is no image" in caplog.text


PEAK = """
import resource, sys
from pathlib import Path
import bnnzoo
from bnnzoo.evaluation import evaluate
from bnnzoo.evaluation.prediction import predict

model = Path(bnnzoo.__file__).parent / "pretrained" / "binarynet.fashion_mnist_small.safetensors"
what, count = sys.argv[1], int(sys.argv[2])
if what == "predict":
    assert len(predict(model, ["ankle_boot/0.png"] * count)) == count
else:
    assert evaluate(model, ".", limit=count, class_map={"ankle_boot": 9}).n == count
print(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has another unit")
@pytest.mark.slow
@pytest.mark.parametrize("what", ["predict", "evaluate"])
def test_memory_does_not_grow_with_the_number_of_photos(tmp_path: Path, what: str) -> None:
    (tmp_path / "ankle_boot").mkdir()
    photo = tmp_path / "ankle_boot" / "0.png"
    Image.new("RGB", (2000, 1500)).save(photo, compress_level=1)
    decoded = 3 * 2000 * 1500
    for i in range(1, 48):
        photo.with_name(f"{i}.png").hardlink_to(photo)
    peaks = [
        int(subprocess.check_output([sys.executable, "-c", PEAK, what, n], cwd=tmp_path))
        for n in ("4", "48")
    ]
    assert peaks[1] - peaks[0] < 10 * decoded  # 44 more of them
