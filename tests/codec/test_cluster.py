"""A Ray cluster of two nodes, started here: the bytes of one process; skipped without Ray."""

import importlib.util
import os
import runpy
import sys
from functools import partial
from pathlib import Path

import pytest

from kinema.codec import chunked_encoding as module
from kinema.codec.decoding import decode_file
from kinema.codec.encoding import EncodeSettings, encode_file
from kinema.codec.reader import DecodeSettings
from kinema.errors import ConfigError, WorkerError

FOLDER = Path(__file__).parent
KIT = runpy.run_path(str(FOLDER / "kit.py"))
CHUNKS = runpy.run_path(str(FOLDER / "chunk_kit.py"))
importable, short_chunks = CHUNKS["importable"], CHUNKS["short_chunks"]


def needs_ray(test):
    """Mark a test that starts a cluster."""
    is_missing = importlib.util.find_spec("ray") is None
    skip = pytest.mark.skipif(is_missing, reason="Ray is not installed (extra: cluster)")
    return pytest.mark.slow(skip(test))


SETTINGS = {  # of Ray; a busy machine takes longer to start than it allows for
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_agent_register_timeout_ms": "120000",
    "RAY_raylet_start_wait_time_s": "120",
}


@pytest.fixture(scope="module")
def address():
    """Of a cluster of two nodes with a processor each, which find our tests' files."""
    from ray.cluster_utils import Cluster

    paths = [str(FOLDER), *filter(None, sys.path)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(paths))
        for name, value in SETTINGS.items():
            patch.setenv(name, value)
        node = {"num_cpus": 1, "object_store_memory": 80 << 20}
        cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
        cluster.add_node(**node)
        yield cluster.address
        cluster.shutdown()


@pytest.fixture
def clip(tmp_path):
    return KIT["write_clip"](tmp_path / "clip.mkv", KIT["draw"](20))


@pytest.fixture
def toy(importable):
    return importable("toy_video").load_toy()


def encode(source, target, toy, note=lambda _: None, **settings):
    settings = EncodeSettings(model=toy, intra_period=4, threads=1, **settings)
    return encode_file(str(source), target, settings, note=note)


@needs_ray
@pytest.mark.usefixtures("short_chunks")
def test_two_nodes_write_the_bytes_of_one_process(tmp_path, clip, toy, address):
    expected = encode(clip, tmp_path / "one.kin", toy)
    assert encode(clip, tmp_path / "many.kin", toy, ray=address) == expected
    assert (tmp_path / "many.kin").read_bytes() == (tmp_path / "one.kin").read_bytes()
    for name, ray in (("one.y4m", None), ("many.y4m", address)):
        settings = DecodeSettings(ray=ray)
        decode_file(tmp_path / "one.kin", str(tmp_path / name), settings, model=toy)
    assert (tmp_path / "many.y4m").read_bytes() == (tmp_path / "one.y4m").read_bytes()


@needs_ray
@pytest.mark.usefixtures("short_chunks")
def test_a_process_of_the_cluster_that_is_killed_costs_a_second_try(
    tmp_path, clip, toy, address, importable, monkeypatch
):
    encode(clip, tmp_path / "one.kin", toy)
    dying = partial(importable("worker_tasks").DyingClusterTask, tally=str(tmp_path / "tally"))
    monkeypatch.setattr(module, "EncodeTask", dying)
    notes = []
    encode(clip, tmp_path / "many.kin", toy, ray=address, note=notes.append)
    assert (tmp_path / "many.kin").read_bytes() == (tmp_path / "one.kin").read_bytes()
    assert len(notes) == 1
    assert "the worker died" in notes[0]


@needs_ray
def test_clusters_that_cannot_help_are_named(tmp_path, clip, toy, address):
    settings = EncodeSettings(model=toy, threads=64, ray=address)
    with pytest.raises(ConfigError, match="no machine of the Ray cluster has 64 processors"):
        encode_file(str(clip), tmp_path / "a.kin", settings)
    with pytest.raises(WorkerError, match=r"Ray cluster 127\.0\.0\.1:1: "):
        encode(clip, tmp_path / "a.kin", toy, ray="127.0.0.1:1")
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mkv"]


def test_without_ray_its_extra_is_named(tmp_path, clip, toy, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install kinema\[cluster\]"):
        encode(clip, tmp_path / "a.kin", toy, ray="auto")
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mkv"]
