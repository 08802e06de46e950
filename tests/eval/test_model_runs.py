from pathlib import Path

import pytest

from kinema.errors import VideoError
from kinema.eval.clips import prepare_clip
from kinema.eval.conditions import Conditions
from kinema.eval.model_runs import ModelRunner


def test_our_codec_is_judged_by_its_files(even_clip, tmp_path, stand_in):
    folder = tmp_path / "workspace"
    folder.mkdir()
    clip = prepare_clip(even_clip, folder, 5)
    runner = ModelRunner(model=None, program=stand_in)
    fine, coarse = (runner.run(clip, Conditions(), crf, extras=frozenset()) for crf in (4, 40))
    assert coarse.size_bytes < fine.size_bytes
    assert coarse.scores.psnr_y < fine.scores.psnr_y
    assert fine.bpp == pytest.approx(8 * fine.size_bytes / (96 * 64 * 5))
    assert not fine.is_cached


def test_commands_follow_the_command_line_contract():
    runner = ModelRunner(model="intra-small", device="cuda")
    conditions = Conditions(structure="low-delay", intra_period=-1, num_threads=3)
    encode = runner.encode_command(Path("a.y4m"), Path("b.kin"), conditions, 22.5)
    assert encode[1:6] == ["-m", "kinema.cli", "encode", "a.y4m", "b.kin"]
    options = " ".join(encode[6:])
    for expected in (
        "--crf 22.5", "--structure low-delay", "--intra-period -1", "--no-scene-cut", "--no-audio",
        "--threads 3", "--device cuda", "--model intra-small",
    ):  # fmt: skip
        assert expected in options
    decode = runner.decode_command(Path("b.kin"), Path("c.yuv"), conditions)
    assert decode[3:6] == ["decode", "b.kin", "c.yuv"]
    assert "--intra-period" not in runner.encode_command(Path("a"), Path("b"), Conditions(), 1)


def test_what_the_codec_complains_about_is_passed_on(even_clip, tmp_path):
    script = tmp_path / "broken.py"
    script.write_text("import sys; sys.exit('no model of that name')")
    runner = ModelRunner(model="x", program=(ModelRunner(model=None).program[0], str(script)))
    folder = tmp_path / "workspace"
    folder.mkdir()
    clip = prepare_clip(even_clip, folder, 1)
    with pytest.raises(VideoError, match=r"kinema x encoder on waves.*no model of that name"):
        runner.run(clip, Conditions(), 20, extras=frozenset())
