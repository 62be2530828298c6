"""Weights come right or not at all: the cache, its names, the mirror, offline, shipped files."""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bnnzoo import manifest, weights
from bnnzoo.errors import WeightsError
from bnnzoo.weights import cached_files, fetch
from tests.weight_server import (
    BAD,
    CACHED,
    GOOD,
    HURRY,
    NAME,
    Answer,
    Server,
    file_at,
    get,
    names_in,
    serving,
    use_cache,
    write_manifest,
)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    return use_cache(tmp_path / "cache", monkeypatch)


# --- what works


def test_a_good_file_is_kept_under_a_name_that_tells_what_it_is(server, cache):
    path = get(file_at(server.serve(Answer())))
    assert path == cache / CACHED
    assert path.read_bytes() == GOOD
    assert names_in(cache) == {CACHED}


def test_a_cached_file_is_verified_and_not_fetched_again(server, cache):
    file = file_at(server.serve(Answer()))
    assert get(file) == get(file)
    assert len(server.requests) == 1


@pytest.mark.parametrize("content", [BAD, GOOD[:100], b""], ids=["same_size", "short", "empty"])
def test_a_broken_cached_file_is_fetched_again_and_said(content, server, cache, caplog):
    file = file_at(server.serve(Answer()))
    get(file).write_bytes(content)
    assert get(file).read_bytes() == GOOD
    assert re.search(rf"{CACHED} must have .*, got .*\. Downloading it again\.", caplog.text)


def test_without_a_size_the_sha256_decides(server, cache):
    file = file_at(server.serve(Answer(), path="/a.h5"), size=None)
    assert get(file).read_bytes() == GOOD
    server.serve(Answer(body=BAD), path="/b.h5")
    with pytest.raises(WeightsError, match=r"must have sha256 [0-9a-f]{16}\.\.\., got "):
        fetch(file_at(server.url("/b.h5"), size=None), name="birealnet18.other", patience=HURRY)


@pytest.mark.parametrize("suffix", weights.SUFFIXES)
def test_the_suffix_that_decides_how_a_file_is_read_is_kept(suffix, server, cache):
    path = get(file_at(server.serve(Answer(), path=f"/dir/x{suffix}")))
    assert path.name == CACHED.removesuffix(".h5") + suffix


def test_a_later_answer_or_url_may_be_the_good_one(server, cache):
    url = server.serve(Answer(500), Answer(body=BAD), Answer())
    assert get(file_at(url)).read_bytes() == GOOD
    assert len(server.requests) == 3


@pytest.mark.parametrize("dead", ["http://127.0.0.1:9/file.h5", "/gone.h5"], ids=["port", "404"])
def test_the_second_url_is_tried_when_the_first_is_dead(dead, server, cache):
    first = dead if dead.startswith("http") else server.url(dead)
    assert get(file_at(first, server.serve(Answer()))).read_bytes() == GOOD
    assert server.requests[-1:] == ["/file.h5"]


def test_a_redirect_on_this_machine_is_followed(server, cache):
    server.serve(Answer(), path="/there")
    url = server.serve(Answer(302, b"", headers=(("Location", "/there"),)))
    assert get(file_at(url)).read_bytes() == GOOD


def test_the_folder_is_tagged_as_a_cache(server, cache):
    get(file_at(server.serve(Answer())))
    tag = (cache / "CACHEDIR.TAG").read_text()
    assert tag.startswith("Signature: 8a477f597d28d172789f06886806bc55\n")


def test_a_folder_that_holds_other_things_is_not_tagged(server, cache):
    cache.mkdir()
    (cache / "thesis.tex").touch()
    get(file_at(server.serve(Answer())))
    assert not (cache / "CACHEDIR.TAG").exists()


def test_a_cached_file_has_the_permissions_of_the_umask(server, cache):
    previous = os.umask(0o027)
    try:
        path = get(file_at(server.serve(Answer())))
    finally:
        os.umask(previous)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_whoever_may_read_a_shared_cache_may_read_its_files(server, cache):
    cache.mkdir()
    cache.chmod(0o1777)
    previous = os.umask(0o077)
    try:
        path = get(file_at(server.serve(Answer())))
    finally:
        os.umask(previous)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_the_argument_beats_the_environment_and_home_is_expanded(cache, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert weights.cache_folder() == cache
    assert weights.cache_folder("~/x") == tmp_path / "x"
    monkeypatch.delenv("BNNZOO_CACHE_DIR")
    assert weights.cache_folder().name == "bnnzoo"


def test_an_unknown_home_folder_is_a_clear_error(monkeypatch):
    monkeypatch.setenv("BNNZOO_CACHE_DIR", "~nobody_of_this_name/cache")
    with pytest.raises(WeightsError, match="The cache must be a folder, got '~nobody.*Set BNNZ"):
        weights.cache_folder()


def test_a_user_without_a_home_is_told_to_name_a_cache(monkeypatch):
    def unknown(_uid):
        raise KeyError

    for name in ("HOME", "XDG_CACHE_HOME", "BNNZOO_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    with pytest.raises(
        WeightsError, match=r"The cache must be a folder, got '~': .*ome dir.*\. Set"
    ):
        weights.cache_folder()


# --- what was verified is what is used


def test_a_file_that_is_swapped_after_it_was_verified_is_not_used(server, cache):
    file = file_at(server.serve(Answer()))
    for fetched in (get(file), get(file)):  # downloaded, and from the cache
        content = (cache / CACHED).read_bytes()
        (cache / CACHED).write_bytes(BAD)
        assert fetched.read_bytes() == GOOD
        with fetched.private_copy() as copy:
            assert copy.read_bytes() == GOOD and copy.name == CACHED
            assert stat.S_IMODE(copy.parent.stat().st_mode) == 0o700
        (cache / CACHED).write_bytes(content)


def test_a_part_that_is_swapped_before_it_has_its_name_is_not_used(server, cache, monkeypatch):
    replace_ = Path.replace

    def swapped(part, target):
        part.write_bytes(BAD)
        return replace_(part, target)

    monkeypatch.setattr(Path, "replace", swapped)
    assert get(file_at(server.serve(Answer()))).read_bytes() == GOOD
    assert (cache / CACHED).read_bytes() == BAD


def test_a_file_without_a_known_size_is_not_read_beyond_its_bound(server, cache):
    file = replace(file_at(server.serve(Answer()), size=None), max_bytes=len(GOOD) - 1)
    with pytest.raises(WeightsError, match=f"sends more than {len(GOOD) - 1} bytes"):
        get(file)
    (cache / CACHED).write_bytes(GOOD)
    assert weights.mismatch(cache / CACHED, file) == "must have at most 255999 bytes, got 256000"


# --- offline and mirror


def test_offline_names_file_url_and_place(server, cache, monkeypatch):
    monkeypatch.setenv("BNNZOO_OFFLINE", "1")
    url = server.serve(Answer())
    expected = f"{NAME} (full) must be in the cache.*{cache / CACHED} is missing.*{url}"
    with pytest.raises(WeightsError, match=expected.replace("(", r"\(").replace(")", r"\)")):
        get(file_at(url))
    assert server.requests == []
    assert not cache.exists()


def test_offline_serves_the_cache_and_refuses_a_broken_file(server, cache, monkeypatch):
    file = file_at(server.serve(Answer()))
    path = get(file)
    monkeypatch.setenv("BNNZOO_OFFLINE", "1")
    assert get(file) == path
    path.write_bytes(BAD)
    with pytest.raises(WeightsError, match=rf"{path} must have sha256 .* Unset BNNZOO_OFFLINE"):
        get(file)
    assert len(server.requests) == 1


def test_a_mirror_may_be_a_copy_of_a_cache(server, cache, monkeypatch):
    monkeypatch.setenv("BNNZOO_BASE_URL", server.url("/zoo/"))
    server.serve(Answer(), path=f"/zoo/{CACHED}")
    assert get(file_at("https://github.example/larq/v1/file.h5")).read_bytes() == GOOD
    assert server.requests == [f"/zoo/{CACHED}"]


def test_a_mirror_may_stand_for_the_original_host(server, cache, monkeypatch):
    monkeypatch.setenv("BNNZOO_BASE_URL", server.url("/proxy"))
    server.serve(Answer(), path="/proxy/larq/v1/file.h5")
    assert get(file_at("https://github.example/larq/v1/file.h5?x=1")).read_bytes() == GOOD
    assert server.requests == [f"/proxy/{CACHED}", "/proxy/larq/v1/file.h5"]


def test_a_mirror_keeps_the_original_host_out_and_its_password_secret(server, cache, monkeypatch):
    original = server.serve(Answer())
    mirror = server.address.replace("//", "//user:secret@") + "/none"
    monkeypatch.setenv("BNNZOO_BASE_URL", mirror)
    with pytest.raises(WeightsError, match=r"/none/file\.h5 answers 404") as caught:
        get(file_at(original))
    assert server.requests == [f"/none/{CACHED}", "/none/file.h5"]
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("base", ["http://intranet.example", "ftp://127.0.0.1", "mirror"])
def test_a_mirror_obeys_the_rule_of_urls(base, cache, monkeypatch):
    monkeypatch.setenv("BNNZOO_BASE_URL", base)
    with pytest.raises(WeightsError, match="BNNZOO_BASE_URL must be https, or http to this mach"):
        get(file_at("https://github.example/file.h5"))


# --- names that must not be used

BAD_URLS = {
    "http": ("http://github.example/file.h5", "url of .* must be https, or http to this machine"),
    "file": ("file:///etc/passwd.h5", "must be https"),
    "pickle": ("https://github.example/file.pkl", r"must end in .*, got '/file\.pkl'"),
    "keras": ("https://github.example/file.keras", "must end in"),
    "query": ("https://github.example/file.npz?x=.h5", "must end in"),
    "no_name": ("https://github.example/", "must end in"),
}


@pytest.mark.parametrize("case", BAD_URLS)
def test_a_url_that_must_not_be_fetched(case, cache):
    url, message = BAD_URLS[case]
    with pytest.raises(WeightsError, match=message):
        get(file_at(url))
    assert not cache.exists()


BAD_NAMES = ["../x.y", "/x.y", "c:x.y", "a\\b.c", "a\0.b", "x/../../y.z", "x", "x.y\n", "X.y", ""]


@pytest.mark.parametrize("name", BAD_NAMES, ids=repr)
def test_a_name_cannot_leave_the_cache(name, cache):
    with pytest.raises(WeightsError, match=r"Name in the cache must be architecture\.tag-role-"):
        fetch(file_at("https://github.example/file.h5"), name=name)


@pytest.mark.parametrize("field", ["role", "sha256"])
def test_no_other_field_can_leave_the_cache(field, cache):
    file = replace(file_at("https://github.example/file.h5"), **{field: "../../x"})
    with pytest.raises(WeightsError, match="Name in the cache must be"):
        get(file)


BAD_PATHS = ["../x.h5", "/etc/x.h5", "data/../../x.h5", "c:/x.h5", "a\\x.h5", "a\0x.h5"]


@pytest.mark.parametrize("path", BAD_PATHS, ids=repr)
def test_a_packaged_path_cannot_leave_the_package(path):
    with pytest.raises(WeightsError, match="Weight files must be inside"):
        fetch(replace(file_at(), path=path), name=NAME)


def test_a_link_cannot_leave_the_cache(cache, tmp_path):
    cache.mkdir()
    (tmp_path / "outside.h5").write_bytes(GOOD)
    (cache / CACHED).symlink_to(tmp_path / "outside.h5")
    with pytest.raises(WeightsError, match=f"must be inside {cache}, got '{CACHED}'. Remove the"):
        get(file_at("https://github.example/file.h5"))
    assert (tmp_path / "outside.h5").read_bytes() == GOOD


def test_a_loop_of_links_is_replaced(server, cache):
    cache.mkdir()
    (cache / CACHED).symlink_to(cache / CACHED)
    path = get(file_at(server.serve(Answer())))
    assert path.read_bytes() == GOOD and not path.is_symlink()


def test_the_cache_itself_may_be_a_link(server, cache, tmp_path):
    (tmp_path / "disk").mkdir()
    cache.symlink_to(tmp_path / "disk")
    assert get(file_at(server.serve(Answer()))) == cache / CACHED


# --- files that are shipped inside the package


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(weights, "__file__", str(tmp_path / "bnnzoo" / "weights.py"))
    (tmp_path / "bnnzoo" / "shipped").mkdir(parents=True)
    return tmp_path / "bnnzoo"


def test_a_packaged_file_is_verified_where_it_is(package):
    path = package / "shipped" / "x.h5"
    path.write_bytes(GOOD)
    assert fetch(replace(file_at(), path="shipped/x.h5"), name=NAME) == path
    path.write_bytes(BAD)
    with pytest.raises(WeightsError, match=rf"{path} must have sha256 .* Install bnnzoo again"):
        fetch(replace(file_at(), path="shipped/x.h5"), name=NAME)


def test_a_missing_packaged_file_is_a_clear_error(package):
    with pytest.raises(WeightsError, match=r"x\.h5 is missing\. Install bnnzoo again"):
        fetch(replace(file_at(), path="shipped/x.h5"), name=NAME)


def test_a_packaged_file_is_data_too(package):
    with pytest.raises(WeightsError, match=r"must end in .*, got 'shipped/x\.pkl'"):
        fetch(replace(file_at(), path="shipped/x.pkl"), name=NAME)


# --- what is in the cache


@pytest.fixture
def records(server, tmp_path) -> manifest.Manifest:
    """A manifest with the file that the server has."""
    write_manifest(tmp_path / "manifest.json", {NAME: {"full": server.url()}})
    return manifest.load(tmp_path / "manifest.json")


def test_cached_files_are_known_unknown_or_partial(server, cache, records):
    server.serve(Answer())
    file = records.weights[NAME].files[0]
    get(file)
    (cache / "birealnet18.test-full-00000000.h5").write_bytes(b"old")
    (cache / f".{CACHED}.01234567.part").write_bytes(b"half")
    (cache / "notes.txt").touch()
    (cache / "birealnet18.test-full-11111111.h5").mkdir()
    (cache / "birealnet18.test-full-22222222.h5").symlink_to("removed")
    found = cached_files(records)
    assert [(f.path.name, f.bytes, f.file, f.partial) for f in found] == [
        (f".{CACHED}.01234567.part", 4, file, True),
        ("birealnet18.test-full-00000000.h5", 3, None, False),
        (CACHED, len(GOOD), file, False),
    ]
    assert {(f.name, f.role) for f in found} == {(NAME, "full")}


def test_a_cache_that_does_not_exist_is_empty(cache, records):
    assert cached_files(records) == []


def test_a_cache_that_cannot_be_read_is_a_clear_error(cache, records):
    cache.write_bytes(b"")
    with pytest.raises(WeightsError, match=f"{cache} cannot be read: Not a directory"):
        cached_files(records)


def test_a_file_that_cannot_be_removed_is_a_clear_error(server, cache, records):
    server.serve(Answer())
    get(records.weights[NAME].files[0])
    (entry,) = cached_files(records)
    (cache / "folder").mkdir()
    with pytest.raises(WeightsError, match=r"folder cannot be removed: .+\. Remove it by hand"):
        weights.remove(replace(entry, path=cache / "folder"))


def test_a_download_is_logged(server, cache, caplog):
    with caplog.at_level(logging.INFO, logger="bnnzoo"):
        url = server.serve(Answer())
        get(file_at(url))
    assert f"Downloading {NAME} (full) from {url}" in caplog.messages
