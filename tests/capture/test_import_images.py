"""A folder of pictures becomes a take that holds just what was in it, or a message that says what is amiss."""

import io
import json
import os
import struct
import zlib
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
from mmface4d.errors import InputError, RecordingError, TakeError
from mmface4d.take import Take

WIDTH, HEIGHT = 64, 48
DEPTH_WIDTH, DEPTH_HEIGHT = 40, 32
SERIALS = ("left-1", "right.2")
FRAMES = 6

Edit = Callable[[Path, dict[str, Any]], object]


def intrinsics(width: int, height: int) -> dict[str, Any]:
    return {"width": width, "height": height, "fx": 50.0, "fy": 50.0, "cx": width / 2, "cy": height / 2}


def camera(role: str) -> dict[str, Any]:
    color_from_depth = np.eye(4)
    color_from_depth[0, 3] = -0.032
    return {
        "role": role,
        "color": intrinsics(WIDTH, HEIGHT),
        "depth": intrinsics(DEPTH_WIDTH, DEPTH_HEIGHT),
        "color_from_depth": color_from_depth.tolist(),
    }


def picture(seed: int) -> np.ndarray:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([rows * 5 % 256, columns * 4 % 256, np.full_like(rows, 40 * seed % 256)], -1).astype(np.uint8)


def save_color(path: Path, seed: int, **options: Any) -> None:
    Image.fromarray(picture(seed)).save(path, **options)


def depth(seed: int, *, scale: float = 1.0) -> np.ndarray:
    values = np.random.default_rng(seed).integers(700, 1200, (DEPTH_HEIGHT, DEPTH_WIDTH)) * scale
    values[:4] = 0
    return values.astype(np.uint16)


def save_depth(path: Path, values: np.ndarray) -> None:
    Image.fromarray(values).save(path)


def write_json(folder: Path, value: Any) -> None:
    (folder / "cameras.json").write_text(json.dumps(value))


@pytest.fixture
def cameras_json() -> dict[str, Any]:
    return {"fps": 30, "cameras": {s: camera("subordinate" if i else "master") for i, s in enumerate(SERIALS)}}


@pytest.fixture
def folder(tmp_path: Path, cameras_json: dict[str, Any]) -> Path:
    """A whole folder of two cameras, six frames."""
    root = tmp_path / "pictures"
    for number, serial in enumerate(SERIALS):
        for kind in ("color", "depth"):
            (root / serial / kind).mkdir(parents=True)
        for frame in range(FRAMES):
            save_color(root / serial / "color" / f"{frame:04d}.jpg", frame, quality=90)
            save_depth(root / serial / "depth" / f"{frame:04d}.png", depth(frame + 100 * number))
    write_json(root, cameras_json)
    return root


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "takes" / "001"


def imported(folder: Path, output: Path, **options: Any) -> Take:
    return import_images(folder, output, **options)


def test_everything_comes_back_bit_by_bit(folder: Path, output: Path) -> None:
    with imported(folder, output) as take:
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
    with imported(folder, output) as take:
        assert (take.master, len(take)) == (SERIALS[0], FRAMES)


def test_names_may_be_microseconds(folder: Path, output: Path, cameras_json: dict[str, Any]) -> None:
    start, step = 1_700_000_000_000_000, 33_333
    for path in [*folder.glob("*/*/*.jpg"), *folder.glob("*/*/*.png")]:
        path.rename(path.with_stem(str(start + step * int(path.stem))))
    with pytest.raises(RecordingError, match="too large"):  # not said, so they are taken for indices
        imported(folder, output)
    write_json(folder, cameras_json | {"names": "timestamps_usec"})
    with imported(folder, output) as take:
        assert take.timestamps_usec.tolist() == [start + step * frame for frame in range(FRAMES)]
        assert (take.depth_mm(3, SERIALS[1]) == depth(103)).all()


def test_png_colour_is_encoded_well_and_noted(folder: Path, output: Path) -> None:
    for frame in range(FRAMES):
        (folder / SERIALS[0] / "color" / f"{frame:04d}.jpg").unlink()
        save_color(folder / SERIALS[0] / "color" / f"{frame}.PNG", frame)  # neither zeros nor case matter
    with imported(folder, output) as take:
        color = take.color(2, SERIALS[0])
        assert color is not None
        assert np.abs(color.astype(int) - picture(2)).mean() < 2.0
        assert take.info.notes == ["6 colour pictures were PNG; they were encoded as JPEG (quality 95, 4:4:4)"]


def test_other_depth_units_become_millimetres(folder: Path, output: Path, cameras_json: dict[str, Any]) -> None:
    for frame in range(FRAMES):
        save_depth(folder / SERIALS[1] / "depth" / f"{frame:04d}.png", depth(frame, scale=10.0) + np.uint16(4))
    with pytest.raises(RecordingError, match=r"right\.2/depth: depth is [89]\.\d+ m") as caught:
        imported(folder, output)
    assert caught.value.hint is not None
    assert '"depth_unit_m": 0.0001' in caught.value.hint
    cameras_json["cameras"][SERIALS[1]]["depth_unit_m"] = 0.0001
    write_json(folder, cameras_json)
    with imported(folder, output) as take:
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
    with imported(folder, output) as take:
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
    with imported(folder, output) as take:
        assert take.audio_path is not None
        assert take.audio_path.read_bytes() == (folder / "audio.wav").read_bytes()
        assert take.audio_start_usec == 0
    soundfile.write(tmp_path / "other.wav", sound[:2400], 48000)
    with imported(folder, tmp_path / "second", audio=tmp_path / "other.wav") as take:
        assert take.info.audio is not None
        assert take.info.audio.samples == 2400


def test_litter_of_file_managers_is_passed_over(folder: Path, output: Path) -> None:
    (folder / SERIALS[0] / "color" / "Thumbs.db").write_bytes(b"x")
    (folder / SERIALS[0] / "depth" / ".DS_Store").write_bytes(b"x")
    (folder / ".git").mkdir()
    with imported(folder, output) as take:
        assert len(take) == FRAMES


def test_links_inside_the_folder_are_followed(folder: Path, output: Path) -> None:
    held = folder / SERIALS[0] / "depth" / "0000.png"
    (folder / SERIALS[0] / "depth" / "0006.png").symlink_to(held)
    (folder / SERIALS[0] / "color" / "0006.jpg").symlink_to(Path("0000.jpg"))
    with imported(folder, output) as take:
        assert (take.depth_mm(FRAMES, SERIALS[0]) == depth(0)).all()


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


def first_depth(folder: Path) -> Path:
    return folder / SERIALS[0] / "depth" / "0000.png"


def first_color(folder: Path) -> Path:
    return folder / SERIALS[0] / "color" / "0000.jpg"


def remove_tree(path: Path) -> None:
    import shutil

    shutil.rmtree(path)


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
    "camera folder missing": (lambda f, r: remove_tree(f / SERIALS[1]), "right.2 is missing"),
    "depth folder missing": (lambda f, r: remove_tree(f / SERIALS[1] / "depth"), "right.2/depth is missing"),
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
        imported(folder, output)
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
        imported(folder, output)
    for place in ("fps", "frames", "cameras.left-1.role", "cameras.right.2.depth.fx"):
        assert f"\n  {place}: " in caught.value.message


def test_a_take_is_never_overwritten(folder: Path, output: Path) -> None:
    output.mkdir(parents=True)
    (output / "mine.txt").write_text("mine")
    with pytest.raises(TakeError, match="never overwritten"):
        imported(folder, output)
    assert [path.name for path in output.iterdir()] == ["mine.txt"]


def test_a_missing_folder_is_told(tmp_path: Path, output: Path) -> None:
    with pytest.raises(RecordingError, match="is no folder"):
        imported(tmp_path / "nowhere", output)


def test_a_jpeg_of_a_camera_is_untouched_whatever_it_carries(folder: Path, output: Path) -> None:
    """An EXIF turn and bytes after the end are kept, and the pixels are read as they are stored."""
    path = first_color(folder)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    coded = io.BytesIO()
    Image.fromarray(picture(3)).save(coded, "JPEG", quality=95, exif=exif)
    path.write_bytes(coded.getvalue() + b"trailing")
    with imported(folder, output) as take:
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
    with imported(folder, output) as take:
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
