"""A folder of pictures that makes no take is refused with a message, and nothing is left of it."""

import os
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from capture.import_images import import_images
from mmface4d.errors import InputError, RecordingError, TakeError
from tests.capture.picture_folder import (
    DEPTH_HEIGHT,
    DEPTH_WIDTH,
    SERIALS,
    camera,
    depth,
    first_color,
    first_depth,
    intrinsics,
    picture,
    save_color,
    save_depth,
    two_cameras,
    write_folder,
    write_json,
)

Edit = Callable[[Path, dict[str, Any]], object]


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


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds nothing."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(bytes(data))


def set_in(*keys: str, value: Any) -> Edit:
    """Changes one value of cameras.json."""

    def edit(folder: Path, record: dict[str, Any]) -> None:
        target = record
        for key in keys[:-1]:
            target = target[key]
        target[keys[-1]] = value
        write_json(folder, record)

    return edit


def rename_serial(name: str) -> Edit:
    def edit(folder: Path, record: dict[str, Any]) -> None:
        record["cameras"][name] = record["cameras"].pop(SERIALS[1])
        write_json(folder, record)

    return edit


def nine_cameras(folder: Path, record: dict[str, Any]) -> None:
    record["cameras"] = {f"c{number}": camera("subordinate" if number else "master") for number in range(9)}
    write_json(folder, record)


def link_out(path_of: Callable[[Path], Path]) -> Edit:
    """Moves something out of the folder and puts a link in its place."""

    def edit(folder: Path, record: dict[str, Any]) -> None:
        path = path_of(folder)
        outside = folder.parent / f"outside-{path.name}"
        path.rename(outside)
        path.symlink_to(outside)

    return edit


def depth_everywhere(values: Callable[[int], np.ndarray]) -> Edit:
    def edit(folder: Path, record: dict[str, Any]) -> None:
        for number, path in enumerate(sorted((folder / SERIALS[0] / "depth").iterdir())):
            save_depth(path, values(number))

    return edit


def in_millimetres() -> list[list[float]]:
    matrix = np.eye(4)
    matrix[0, 3] = -32.0
    return matrix.tolist()


CAM = ("cameras", SERIALS[0])
GREY8 = np.full((DEPTH_HEIGHT, DEPTH_WIDTH), 100, np.uint8)
REFUSED: dict[str, tuple[Edit, str]] = {
    "no cameras.json": (lambda f, r: (f / "cameras.json").unlink(), "has no cameras.json"),
    "damaged cameras.json": (lambda f, r: (f / "cameras.json").write_text("{"), "cameras.json is not valid JSON"),
    "a list": (lambda f, r: write_json(f, []), "cameras.json has 1 mistake"),
    "unknown key": (set_in("colour", value=1), "colour: Extra inputs"),
    "unknown camera key": (set_in(*CAM, "delay", value=1), "left-1.delay: Extra inputs"),
    "no fps": (set_in("fps", value=0), "fps: "),
    "NaN": (set_in(*CAM, "color", "fx", value=float("nan")), "left-1.color.fx: "),
    "no cameras": (set_in("cameras", value={}), "cameras: "),
    "nine cameras": (nine_cameras, "cameras: "),
    "metres as unit": (set_in(*CAM, "depth_unit_m", value=1.0), "left-1.depth_unit_m: "),
    "millimetres between imagers": (set_in(*CAM, "color_from_depth", value=in_millimetres()), "translation in metres"),
    "ragged matrix": (set_in(*CAM, "color_from_depth", value=[[1.0], [2.0, 3.0]]), "4x4 rigid"),
    "huge intrinsics": (set_in(*CAM, "depth", value=intrinsics(100_000, 100_000)), "megapixels"),
    "two masters": (set_in("cameras", SERIALS[1], "role", value="master"), "2 masters"),
    "no master": (set_in(*CAM, "role", value="subordinate"), "no master"),
    "one unwired": (set_in("cameras", SERIALS[1], "role", value="standalone"), "was not wired"),
    "serial with a path": (rename_serial("../outside"), "outside"),
    "serial with a line break": (rename_serial("a\nb"), "cameras"),
    "absolute serial": (rename_serial("/etc"), "/etc"),
    "hidden serial": (rename_serial(".."), "cameras"),
    "camera folder missing": (lambda f, r: shutil.rmtree(f / SERIALS[1]), "right.2 is missing"),
    "depth folder missing": (lambda f, r: shutil.rmtree(f / SERIALS[1] / "depth"), "right.2/depth is missing"),
    "depth folder empty": (
        lambda f, r: [path.unlink() for path in (f / SERIALS[1] / "depth").iterdir()],
        "right.2/depth holds no picture",
    ),
    "unknown folder": (lambda f, r: (f / "third").mkdir(), "third belongs to no camera"),
    "unknown folder of a camera": (lambda f, r: (f / SERIALS[0] / "ir").mkdir(), "left-1/ir belongs to no camera"),
    "name that is no number": (lambda f, r: first_depth(f).rename(first_depth(f).with_stem("a1")), "a1.png: its name"),
    "negative name": (lambda f, r: first_depth(f).rename(first_depth(f).with_stem("-1")), "-1.png: its name"),
    "other digits": (lambda f, r: first_depth(f).rename(first_depth(f).with_stem("١")), "its name is no frame index"),
    "endless name": (lambda f, r: first_depth(f).rename(first_depth(f).with_stem("9" * 200)), "too large a number"),
    "twice one name": (lambda f, r: save_color(first_color(f).with_name("00.jpg"), 1), "are of one instant"),
    "depth as EXR": (lambda f, r: first_depth(f).rename(first_depth(f).with_suffix(".exr")), "0000.exr is none of"),
    "depth as TIFF inside": (
        lambda f, r: Image.fromarray(depth(0).astype(np.float32)).save(first_depth(f), format="TIFF"),
        "0000.png is no readable picture",
    ),
    "a folder as picture": (lambda f, r: (f / SERIALS[0] / "color" / "77.jpg").mkdir(), "77.jpg is no file"),
    "a pipe as picture": (lambda f, r: os.mkfifo(f / SERIALS[0] / "color" / "77.jpg"), "77.jpg is no file"),
    "dangling link": (
        lambda f, r: (f / SERIALS[0] / "color" / "77.jpg").symlink_to(f / "nothing.jpg"),
        "77.jpg is no file",
    ),
    "link loop": (lambda f, r: (f / SERIALS[0] / "color" / "77.jpg").symlink_to("77.jpg"), "77.jpg"),
    "picture linked from outside": (link_out(first_depth), "0000.png leads out of"),
    "folder linked from outside": (link_out(lambda f: f / SERIALS[0] / "color"), "color leads out of"),
    "camera linked from outside": (link_out(lambda f: f / SERIALS[0]), "left-1 leads out of"),
    "cameras.json linked from outside": (link_out(lambda f: f / "cameras.json"), "cameras.json leads out of"),
    "8-bit depth": (lambda f, r: save_depth(first_depth(f), GREY8), "no 16-bit grey PNG, it is 8-bit grey"),
    "colour depth": (lambda f, r: save_depth(first_depth(f), np.stack([GREY8] * 3, -1)), "it is colour PNG"),
    "depth in the colour folder": (
        lambda f, r: (
            first_color(f).unlink(),
            save_depth(first_color(f).with_suffix(".png"), np.zeros((48, 64), "u2")),
        ),
        "is a 16-bit grey picture",
    ),
    "other depth size": (
        lambda f, r: save_depth(first_depth(f), np.ones((48, 64), np.uint16)),
        "0000.png is 64x48, its intrinsics are for 40x32",
    ),
    "other colour size": (
        lambda f, r: Image.fromarray(picture(0)[:40]).save(first_color(f)),
        "0000.jpg is 64x40, its intrinsics are for 64x48",
    ),
    "huge picture": (lambda f, r: first_depth(f).write_bytes(png_header(9000, 9000)), "0000.png is 9000x9000"),
    "decompression bomb": (lambda f, r: first_depth(f).write_bytes(png_header(60000, 60000)), "0000.png"),
    "empty PNG": (lambda f, r: first_depth(f).write_bytes(png_header(40, 32)), "0000.png is no readable picture"),
    "empty file": (lambda f, r: first_color(f).write_bytes(b""), "0000.jpg is no readable picture"),
    "truncated JPEG": (
        lambda f, r: first_color(f).write_bytes(first_color(f).read_bytes()[:-300]),
        "0000.jpg is no readable picture",
    ),
    "truncated depth": (
        lambda f, r: first_depth(f).write_bytes(first_depth(f).read_bytes()[:-300]),
        "0000.png is no readable picture",
    ),
    "flipped bit in depth": (lambda f, r: flip_a_bit(first_depth(f)), "0000.png is no readable picture"),
    "depth in metres": (depth_everywhere(lambda n: depth(n, scale=0.0015)), "left-1/depth: depth is 0.001 m"),
    "depth in tenths of millimetres": (depth_everywhere(lambda n: depth(n, scale=20.0)), "left-1/depth: depth is 1"),
    "depth of mixed units": (depth_everywhere(lambda n: depth(n, scale=0.01 if n == 4 else 1)), "0004.png: depth is"),
    "no name in common": (
        lambda f, r: [p.rename(p.with_stem(str(60 + int(p.stem)))) for p in (f / SERIALS[0] / "depth").iterdir()],
        "camera",
    ),
    "names of milliseconds": (set_in("names", value="timestamps_usec"), "by their names"),
    "sound linked from outside": (
        lambda f, r: ((f.parent / "a.wav").write_bytes(b"x"), (f / "audio.wav").symlink_to(f.parent / "a.wav")),
        "audio.wav leads out of",
    ),
    "sound that is none": (lambda f, r: (f / "audio.wav").write_bytes(b"RIFF"), "is no readable sound"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_a_message_and_nothing_left(
    case: str, folder: Path, output: Path, cameras_json: dict[str, Any]
) -> None:
    edit, message = REFUSED[case]
    edit(folder, cameras_json)
    with pytest.raises(InputError) as caught:
        import_images(folder, output)
    assert message in caught.value.message, caught.value.message
    assert caught.value.hint
    assert not output.exists()


def test_all_mistakes_are_told_at_once(folder: Path, output: Path, cameras_json: dict[str, Any]) -> None:
    cameras_json["cameras"][SERIALS[0]]["role"] = "boss"
    cameras_json["cameras"][SERIALS[1]]["depth"]["fx"] = -1
    cameras_json["frames"] = 6
    del cameras_json["fps"]
    write_json(folder, cameras_json)
    with pytest.raises(RecordingError) as caught:
        import_images(folder, output)
    for place in ("fps", "frames", "cameras.left-1.role", "cameras.right.2.depth.fx"):
        assert f"\n  {place}: " in caught.value.message


def test_a_take_is_never_overwritten(folder: Path, output: Path) -> None:
    output.mkdir(parents=True)
    (output / "mine.txt").write_text("mine")
    with pytest.raises(TakeError, match="never overwritten"):
        import_images(folder, output)
    assert [path.name for path in output.iterdir()] == ["mine.txt"]


def test_a_missing_folder_is_told(tmp_path: Path, output: Path) -> None:
    with pytest.raises(RecordingError, match="is no folder"):
        import_images(tmp_path / "nowhere", output)


@pytest.mark.parametrize("name", ["a.mp3", "a.flac", "a.raw"])
def test_sound_that_ends_early_or_has_no_head_is_refused(folder: Path, output: Path, name: str) -> None:
    """The heads of MP3 and FLAC say how long they are, whatever follows."""
    sound = folder.parent / name
    noise = 0.1 * np.random.default_rng(0).normal(size=3 * 44_100)
    soundfile.write(sound, noise, 44_100, format=name[2:].upper(), subtype="PCM_16" if name == "a.raw" else None)
    sound.write_bytes(sound.read_bytes()[: sound.stat().st_size // 2])
    with pytest.raises(RecordingError, match=name.replace(".", r"\.")):
        import_images(folder, output, audio=sound)
    assert not output.exists()
