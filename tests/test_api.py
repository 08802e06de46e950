"""The functions that the README shows, with the system at hand and with a model of one's own."""

import runpy
from dataclasses import replace
from pathlib import Path

import pytest

import kinema

KIT = runpy.run_path(str(Path(__file__).parent / "codec" / "kit.py"))
TOY = runpy.run_path(str(Path(__file__).parent / "codec" / "toy_video.py"))
tiny_weights, tiny_model = KIT["tiny_weights"], KIT["tiny_model"]


@pytest.fixture
def clip(tmp_path):
    return KIT["write_clip"](tmp_path / "clip.mkv", KIT["draw"](6))


def test_files_there_and_back(tmp_path, clip):
    report = kinema.encode(clip, tmp_path / "a.kin", crf=20, num_frames=4)
    assert (report.num_frames, report.crf) == (4, 20)
    assert kinema.verify(str(tmp_path / "a.kin")).num_frames == 4
    assert kinema.decode(tmp_path / "a.kin", tmp_path / "a.mkv", num_frames=3).num_frames == 3
    with kinema.open(tmp_path / "a.kin") as video:
        frames = list(video)
    assert KIT["same_planes"](frames[:3], KIT["read"](tmp_path / "a.mkv")[1])
    assert isinstance(frames[0], kinema.Frame)
    assert isinstance(video, kinema.KinReader)


def test_a_target_instead_of_a_crf(tmp_path, clip):
    report = kinema.encode(clip, tmp_path / "a.kin", rate_kbps=20)
    assert 0.96 * 20 <= report.rate_kbps <= 20


def test_live_frames_need_no_file(tiny_model):
    encoder, decoder = kinema.Encoder(tiny_model), kinema.Decoder(tiny_model, 48, 32)
    for frame in KIT["draw"](3):
        coded = encoder.encode(frame, crf=25)
        assert KIT["same_planes"]([decoder.decode(coded)], [coded.frame])


def test_live_frames_that_refer_to_the_one_before():
    toy = TOY["load_toy"]()
    encoder = kinema.Encoder(toy, structure="low-delay", intra_period=-1, refresh=3)
    decoder = kinema.Decoder(toy, 48, 32)
    for i, frame in enumerate(KIT["draw"](5)):
        coded = encoder.encode(frame, crf=25)
        assert (coded.header.references == ()) == (i % 3 == 0)
        assert KIT["same_planes"]([decoder.decode(coded)], [coded.frame])


def test_a_sequence_of_ones_own_structure(tmp_path, clip):
    toy = TOY["load_toy"]()
    kinema.encode(clip, tmp_path / "a.kin", model=toy, intra_period=4, refresh=3)
    with kinema.open(tmp_path / "a.kin", model=toy, start_s=0.08) as video:
        assert video.header.intra_period == 4
        assert [frame.pts for frame in video] == [80, 120, 160, 200]


def test_a_model_of_ones_own(tmp_path, clip, tiny_weights, monkeypatch):
    model = kinema.load_model("intra", weights=tiny_weights)
    registry = KIT["registry"]
    nothing = replace(registry.MODELS["intra"], weights="missing.safetensors")
    monkeypatch.setitem(registry.MODELS, "intra", nothing)
    kinema.encode(clip, tmp_path / "a.kin", model=model)
    with pytest.raises(kinema.KinemaError, match="do not exist"):
        kinema.verify(tmp_path / "a.kin")
    assert kinema.verify(tmp_path / "a.kin", model=model).num_frames == 6
    assert kinema.decode(tmp_path / "a.kin", tmp_path / "a.mkv", model=model).num_frames == 6
    with kinema.open(tmp_path / "a.kin", model=model) as video:
        assert len(list(video)) == 6


def test_wrong_names_are_told():
    with pytest.raises(AttributeError, match="no attribute 'encoder'"):
        kinema.encoder  # noqa: B018  # its absence is the point
    with pytest.raises(kinema.KinemaError, match="unknown model"):
        kinema.load_model("outer")


def test_every_error_is_a_kinema_error(tmp_path):
    for use in (
        lambda: kinema.encode(tmp_path / "gone.mp4", tmp_path / "a.kin"),
        lambda: kinema.decode(tmp_path / "gone.kin", tmp_path / "a.mkv"),
        lambda: kinema.open(tmp_path / "gone.kin"),
        lambda: kinema.verify(tmp_path),
    ):
        with pytest.raises(kinema.KinemaError):
            use()
