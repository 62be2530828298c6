"""Claim: probabilities, losses and best classes follow their formulas, with ties and extremes."""

from __future__ import annotations

import numpy as np
import pytest

from bnnzoo.evaluation.scores import cross_entropy, join, predictions, probabilities


def test_logits_and_their_probabilities_have_one_loss(rng: np.random.Generator) -> None:
    logits = rng.normal(0, 3, (20, 7)).astype("float32")
    labels = rng.integers(0, 7, 20)
    shares = probabilities(logits, "logits")
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    expected = -np.log(shares[np.arange(20), labels])
    np.testing.assert_allclose(cross_entropy(logits, labels, "logits"), expected)
    np.testing.assert_allclose(
        cross_entropy(shares.astype("float32"), labels, "probabilities"), expected, rtol=1e-5
    )


def test_large_logits_do_not_overflow() -> None:
    logits = np.float32([[5000, 0], [0, 5000]])
    np.testing.assert_array_equal(cross_entropy(logits, np.array([0, 0]), "logits"), [0, 5000])
    np.testing.assert_array_equal(probabilities(logits, "logits"), [[1, 0], [0, 1]])


def test_probability_zero_costs_what_keras_counts() -> None:
    loss = cross_entropy(np.float32([[1, 0]]), np.array([1]), "probabilities")
    assert loss == pytest.approx(-np.log(1e-7))


def test_other_outputs_have_no_loss() -> None:
    scores = np.float32([[0.2, 0.9]])
    assert cross_entropy(scores, np.array([1]), None) is None
    np.testing.assert_array_equal(probabilities(scores, None), scores)


def test_ties_go_to_the_lower_index() -> None:
    scores = np.float32([[1, 3, 3, 0, 3, 1, 1]])
    found = predictions(("a",), np.array([4]), scores, "logits")
    assert found.top_indices.tolist() == [[1, 2, 4, 0, 5]]
    assert found.top_scores.tolist() == [[3, 3, 3, 1, 1]]
    assert found.top_indices[0, 0] == scores[0].argmax()


def test_batches_join_in_order(rng: np.random.Generator) -> None:
    scores = rng.normal(size=(9, 4)).astype("float32")
    labels = rng.integers(0, 4, 9)
    ids = tuple("abcdefghi")
    parts = [
        predictions(ids[i : i + 4], labels[i : i + 4], scores[i : i + 4], "logits")
        for i in range(0, 9, 4)
    ]
    whole, joined = predictions(ids, labels, scores, "logits"), join(parts)
    assert joined.ids == whole.ids
    for name in ("labels", "top_indices", "top_scores", "losses"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(whole, name))
