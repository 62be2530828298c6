"""The arithmetic of windows, against windows that are laid out one by one."""

from __future__ import annotations

import itertools

import pytest

from bnnzoo.graph.windows import count, extent, padding_of, rule_of, span

CASES = [
    case
    for case in itertools.product((1, 2, 5, 8, 13), (1, 2, 3, 5), (1, 2, 3), (1, 2))
    if case[0] >= extent(case[1], case[3])
]


def places(pixels: int, taps: int, stride: int, dilation: int) -> list[list[int]]:
    """Returns the pixels that the taps of each window see, of those windows that fit."""
    windows = []
    begin = 0
    while begin + (taps - 1) * dilation < pixels:
        windows.append([begin + tap * dilation for tap in range(taps)])
        begin += stride
    return windows


@pytest.mark.parametrize(("pixels", "taps", "stride", "dilation"), CASES)
def test_windows_that_fit(pixels, taps, stride, dilation):
    windows, covered = places(pixels, taps, stride, dilation), extent(taps, dilation)
    assert covered == windows[0][-1] - windows[0][0] + 1
    assert count(pixels, covered, stride) == len(windows)
    assert span(len(windows), covered, stride) == windows[-1][-1] + 1


@pytest.mark.parametrize(("pixels", "taps", "stride", "dilation"), CASES)
def test_the_rule_same(pixels, taps, stride, dilation):
    """A window per stride, with the least border, of which the end has the larger half."""
    top, bottom, left, right = padding = padding_of(
        "same", (pixels, 1), (taps, 1), (stride, 1), (dilation, 1)
    )
    assert len(places(pixels + top + bottom, taps, stride, dilation)) == -(-pixels // stride)
    if top + bottom:
        fewer = pixels + top + bottom - 1
        assert len(places(fewer, taps, stride, dilation)) < -(-pixels // stride)
    assert bottom - top in (0, 1)
    assert (left, right) == (0, 0)
    rule = rule_of(padding, (pixels, 1), (taps, 1), (stride, 1), (dilation, 1))
    assert rule == ("same" if any(padding) else "valid")


def test_other_rules():
    sizes = (9, 9), (3, 3), (1, 1)
    assert padding_of("valid", *sizes) == (0, 0, 0, 0)
    assert padding_of("causal", *sizes, (2, 1)) == (4, 0, 2, 0)
    assert rule_of((1, 1, 1, 1), *sizes) == "same"
    assert rule_of((1, 1, 0, 0), *sizes) is None
