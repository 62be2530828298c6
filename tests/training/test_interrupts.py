"""Ctrl-C that something swallows, and that of others."""

from __future__ import annotations

import contextlib
import signal
import threading

import pytest

from bnnzoo.training.interrupts import kept_interrupts


def swallowed() -> None:
    with contextlib.suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_it_is_raised_at_the_end_of_the_block():
    before, reached = signal.getsignal(signal.SIGINT), []
    with pytest.raises(KeyboardInterrupt), kept_interrupts():
        swallowed()
        reached.append("end")
    assert reached == ["end"]
    assert signal.getsignal(signal.SIGINT) is before


def test_it_is_raised_where_it_is_asked_for():
    with pytest.raises(KeyboardInterrupt), kept_interrupts() as check:
        check()
        swallowed()
        check()
        raise AssertionError("it goes on")


def test_another_error_is_not_hidden():
    with pytest.raises(ValueError, match="other"), kept_interrupts():
        swallowed()
        raise ValueError("other")


@pytest.fixture
def noted():
    """A handler of the caller's own, as one that ends after this epoch."""
    before, pressed = signal.getsignal(signal.SIGINT), []
    signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))
    yield pressed
    signal.signal(signal.SIGINT, before)


def test_a_handler_that_takes_it_has_it(noted):
    with kept_interrupts() as check:
        signal.raise_signal(signal.SIGINT)
        check()
    assert noted == [signal.SIGINT]


def test_other_threads_have_no_handlers():
    errors: list[BaseException] = []

    def run() -> None:
        try:
            with kept_interrupts() as check:
                check()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert errors == []
