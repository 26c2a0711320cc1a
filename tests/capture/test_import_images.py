"""A folder of pictures becomes a take that holds just what was in it."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from capture.import_images import import_images
from capture.pictures import millimetres
from mmface4d.errors import RecordingError
from tests.capture.picture_folder import (
    FRAMES,
    HEIGHT,
    SERIALS,
    WIDTH,
    camera,
    depth,
    first_color,
    first_depth,
    picture,
    save_color,
    save_depth,
    two_cameras,
    write_folder,
    write_json,
)


@pytest.fixture
def cameras_json() -> dict[str, Any]:
    return two_cameras()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_folder(tmp_path / "pictures")
    return tmp_path / "pictures"


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "takes" / "001"


def test_everything_comes_back_bit_by_bit(folder: Path, output: Path) -> None:
    with import_images(folder, output) as take:
        assert (take.master, take.fps, len(take), tuple(take.cameras)) == (SERIALS[0], 30.0, FRAMES, SERIALS)
        assert take.timestamps_usec.tolist() == [round(frame * 1e6 / 30) for frame in range(FRAMES)]
        assert take.info.unmatched == []
        assert take.info.notes == []
        assert take.info.sync.max_usec == 0
        for number, serial in enumerate(SERIALS):
            for frame in range(FRAMES):
                assert take.color_jpeg(frame, serial) == (folder / serial / "color" / f"{frame:04d}.jpg").read_bytes()
                assert (take.depth_mm(frame, serial) == depth(frame + 100 * number)).all()
        rgbd = take.rgbd[SERIALS[1]]
        assert rgbd.color.size == (WIDTH, HEIGHT)
        assert rgbd.color_from_depth[0, 3] == -0.032


def test_one_camera_is_enough(folder: Path, output: Path, cameras_json: dict[str, Any]) -> None:
    cameras_json["cameras"] = {SERIALS[0]: camera("standalone")}
    write_json(folder, cameras_json)
    (folder / SERIALS[1]).rename(folder.parent / "elsewhere")
    with import_images(folder, output) as take:
        assert (take.master, len(take)) == (SERIALS[0], FRAMES)


def test_names_may_be_microseconds(folder: Path, output: Path, cameras_json: dict[str, Any]) -> None:
    start, step = 1_700_000_000_000_000, 33_333
    for path in [*folder.glob("*/*/*.jpg"), *folder.glob("*/*/*.png")]:
        path.rename(path.with_stem(str(start + step * int(path.stem))))
    with pytest.raises(RecordingError, match="too large"):  # not said, so they are taken for indices
        import_images(folder, output)
    write_json(folder, cameras_json | {"names": "timestamps_usec"})
    with import_images(folder, output) as take:
        assert take.timestamps_usec.tolist() == [start + step * frame for frame in range(FRAMES)]
        assert (take.depth_mm(3, SERIALS[1]) == depth(103)).all()


def test_png_colour_is_encoded_well_and_noted(folder: Path, output: Path) -> None:
    for frame in range(FRAMES):
        (folder / SERIALS[0] / "color" / f"{frame:04d}.jpg").unlink()
        save_color(folder / SERIALS[0] / "color" / f"{frame}.PNG", frame)  # neither zeros nor case matter
    with import_images(folder, output) as take:
        color = take.color(2, SERIALS[0])
        assert color is not None
        assert np.abs(color.astype(int) - picture(2)).mean() < 2.0
        assert take.info.notes == ["6 colour pictures were PNG; they were encoded as JPEG (quality 95, 4:4:4)"]


def test_other_depth_units_become_millimetres(folder: Path, output: Path, cameras_json: dict[str, Any]) -> None:
    for frame in range(FRAMES):
        save_depth(folder / SERIALS[1] / "depth" / f"{frame:04d}.png", depth(frame, scale=10.0) + np.uint16(4))
    with pytest.raises(RecordingError, match=r"right\.2/depth: depth is [89]\.\d+ m") as caught:
        import_images(folder, output)
    assert caught.value.hint is not None
    assert '"depth_unit_m": 0.0001' in caught.value.hint
    cameras_json["cameras"][SERIALS[1]]["depth_unit_m"] = 0.0001
    write_json(folder, cameras_json)
    with import_images(folder, output) as take:
        assert (take.depth_mm(1, SERIALS[1]) == depth(1)).all()
        assert "camera right.2: depth was in units of 0.0001 m, it was rounded to millimetres" in take.info.notes


@given(st.integers(0, 65535), st.sampled_from([0.00025, 0.0001, 0.000001, 0.001, 0.002, 0.01]))
def test_depth_units(value: int, unit_m: float) -> None:
    depth_mm = int(millimetres(np.full((1, 1), value, np.uint16), unit_m)[0, 0])
    exact = value * unit_m * 1000
    assert depth_mm == 0 if exact > 65535.6 else abs(depth_mm - exact) <= 0.5 + 1e-6 or exact > 65535.4


def test_what_lacks_a_partner_is_kept_and_listed(folder: Path, output: Path) -> None:
    (folder / SERIALS[0] / "depth" / "0001.png").unlink()
    (folder / SERIALS[1] / "color" / "0004.jpg").unlink()
    with import_images(folder, output) as take:
        assert len(take) == FRAMES
        assert take.present(1) == (SERIALS[1],)
        assert take.present(4) == (SERIALS[0],)
        listed = {(u.serial, u.color_usec, u.depth_usec, u.reason) for u in take.info.unmatched}
        assert listed == {
            (SERIALS[0], 33333, None, "colour without depth"),
            (SERIALS[1], None, 133333, "depth without colour"),
        }
        assert (
            take.streams.read(f"/{SERIALS[0]}/color", 33333)
            == (folder / SERIALS[0] / "color" / "0001.jpg").read_bytes()
        )


def test_sound_beside_the_pictures_is_taken(folder: Path, output: Path, tmp_path: Path) -> None:
    sound = np.sin(np.arange(4800) / 10).astype(np.float32)
    soundfile.write(folder / "audio.wav", sound, 48000, subtype="PCM_16")
    with import_images(folder, output) as take:
        assert take.audio_path is not None
        assert take.audio_path.read_bytes() == (folder / "audio.wav").read_bytes()
        assert take.audio_start_usec == 0
    soundfile.write(tmp_path / "other.wav", sound[:2400], 48000)
    with import_images(folder, tmp_path / "second", audio=tmp_path / "other.wav") as take:
        assert take.info.audio is not None
        assert take.info.audio.samples == 2400


def test_an_mp3_has_the_samples_that_were_read_of_it(folder: Path, output: Path, tmp_path: Path) -> None:
    """Without its first frame, nothing in it says how many there are, and libsndfile guesses too many."""
    sound = tmp_path / "a.mp3"
    tone = 0.1 * np.sin(np.arange(3 * 44_100) / 10)
    soundfile.write(sound, tone, 44_100, format="MP3", bitrate_mode="CONSTANT", compression_level=0.5)
    data = sound.read_bytes()
    sound.write_bytes(data[data.index(data[:2], 4) :])
    with import_images(folder, output, audio=sound) as take:
        assert take.audio_path is not None
        assert take.info.audio is not None
        assert take.info.audio.samples == soundfile.info(take.audio_path).frames < soundfile.info(sound).frames


def test_litter_of_file_managers_is_passed_over(folder: Path, output: Path) -> None:
    (folder / SERIALS[0] / "color" / "Thumbs.db").write_bytes(b"x")
    (folder / SERIALS[0] / "depth" / ".DS_Store").write_bytes(b"x")
    (folder / ".git").mkdir()
    with import_images(folder, output) as take:
        assert len(take) == FRAMES


def test_links_inside_the_folder_are_followed(folder: Path, output: Path) -> None:
    held = folder / SERIALS[0] / "depth" / "0000.png"
    (folder / SERIALS[0] / "depth" / "0006.png").symlink_to(held)
    (folder / SERIALS[0] / "color" / "0006.jpg").symlink_to(Path("0000.jpg"))
    with import_images(folder, output) as take:
        assert (take.depth_mm(FRAMES, SERIALS[0]) == depth(0)).all()


def test_a_jpeg_of_a_camera_is_untouched_whatever_it_carries(folder: Path, output: Path) -> None:
    """An EXIF turn and bytes after the end are kept, and the pixels are read as they are stored."""
    path = first_color(folder)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    coded = io.BytesIO()
    Image.fromarray(picture(3)).save(coded, "JPEG", quality=95, exif=exif)
    path.write_bytes(coded.getvalue() + b"trailing")
    with import_images(folder, output) as take:
        assert take.color_jpeg(0, SERIALS[0]) == path.read_bytes()
        color = take.color(0, SERIALS[0])
        assert color is not None
        assert np.abs(color.astype(int) - picture(3)).mean() < 4.0


def test_content_decides_and_not_the_ending(folder: Path, output: Path) -> None:
    """A JPEG named .png and a JPEG of several pictures (MPO) are passed through; grey stays readable."""
    several = folder / SERIALS[0] / "color" / "0001.jpg"
    Image.fromarray(picture(1)).save(several, "MPO", save_all=True, append_images=[Image.fromarray(picture(2))])
    first_color(folder).rename(first_color(folder).with_suffix(".png"))
    Image.fromarray(picture(2)[..., 0]).save(folder / SERIALS[0] / "color" / "0002.jpg")
    with import_images(folder, output) as take:
        assert take.color_jpeg(0, SERIALS[0]) == first_color(folder).with_suffix(".png").read_bytes()
        assert take.color_jpeg(1, SERIALS[0]) == several.read_bytes()
        assert take.info.notes == []
        assert all(take.color(frame, SERIALS[0]) is not None for frame in range(FRAMES))


def test_the_command_imports_and_refuses(folder: Path, output: Path, run_cli: Callable[..., Any]) -> None:
    done = run_cli("take", "import", folder, "-o", output, "--layout", "images", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)
    first_depth(folder).write_bytes(b"no picture")
    done = run_cli("take", "import", folder, "-o", output.with_name("002"), "--layout", "images")
    assert done.returncode == 3
    assert "0000.png is no readable picture" in done.stderr
    assert "  do: " in done.stderr
    assert not output.with_name("002").exists()
