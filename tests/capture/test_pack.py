"""Packing loses nothing, at whatever moment it is killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import capture.pack
import mmface4d.files
import mmface4d.take_streams
from capture.commands import pack
from capture.export_mkv import export_take
from capture.import_mkv import import_recordings
from capture.pack import pack_take
from capture.recover import recover_take
from capture.salvage import scan
from mmface4d.depth_codec import decode_depth, encode_depth
from mmface4d.depth_ffv1 import ENCODING, HEAD, LEAST_SIDE, MAGIC, encode_ffv1
from mmface4d.errors import DiskFullError, SomeItemsFailedError, TakeError, VerificationError
from mmface4d.take import Take, TakeWriter, open_take
from tests.capture import kinect_take
from tests.capture.small_take import DELAYS, HEIGHT, WIDTH, camera, frame_table, write_pictures, write_take


def smooth(frame: int = 0) -> np.ndarray:
    """A tilted plane with noise and holes: FFV1 makes it smaller than the recorder's codec does."""
    rng = np.random.default_rng(frame)
    plane = 700 + np.add.outer(np.arange(HEIGHT), np.arange(WIDTH) // 2) + rng.integers(-2, 3, (HEIGHT, WIDTH))
    return np.where(rng.random((HEIGHT, WIDTH)) < 0.05, 0, plane).astype(np.uint16)


def content(path: Path) -> dict[str, object]:
    """Everything that the calls of a take give."""
    with open_take(path) as take:
        firsts = {serial: take.info.frames.color_usec[serial][0] or 0 for serial in DELAYS}
        arrivals = [take.streams.read_with_arrival(f"/{s}/color", usec)[1] for s, usec in firsts.items()]
        rest = {p.name: p.read_bytes() for p in path.iterdir() if p.name in ("take.json", "audio.wav")}
        return {"pictures": pictures_of(take), "arrivals": arrivals, "attached": take.streams.attachments(), **rest}


def pictures_of(take: Take) -> list[tuple[int, str, bytes | None, bytes | None]]:
    return [
        (frame, serial, take.color_jpeg(frame, serial), depth_bytes(take, frame, serial))
        for frame in range(len(take))
        for serial in take.cameras
    ]


def depth_bytes(take: Take, frame: int, serial: str) -> bytes | None:
    depth_mm = take.depth_mm(frame, serial)
    return None if depth_mm is None else depth_mm.tobytes()


@pytest.fixture
def take(tmp_path: Path) -> Path:
    return write_take(tmp_path / "take", lost={"left": {3, 4}}, depth=smooth())


def test_a_packed_take_is_smaller_and_the_same(take: Path) -> None:
    before, size = content(take), (take / "streams.mcap").stat().st_size
    report = pack_take(take)
    assert report.packed
    assert report.depth_pictures == 20 * 3 - 2
    assert report.depth_bytes_after < report.depth_bytes_before  # how much, see benchmarks: these pictures are tiny
    assert report.bytes_after == (take / "streams.mcap").stat().st_size < size
    assert content(take) == before
    assert scan(take / "streams.mcap").depth_encoding == ENCODING


def test_packing_twice_changes_nothing(take: Path) -> None:
    pack_take(take)
    whole = (take / "streams.mcap").stat()
    assert not pack_take(take).packed
    assert (take / "streams.mcap").stat() == whole


def packing_once_opened(patch: pytest.MonkeyPatch, take: Path) -> list[str]:
    """Packs the take when its streams have just been opened for the first time; what is returned tells that."""
    streams, packed = take / "streams.mcap", list[str]()

    def then_pack(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Path, *args: Any, **options: Any) -> Any:
            opened = real(path, *args, **options)
            if Path(path) == streams and not packed:
                packed.append(str(path))
                assert pack_take(take).packed
            return opened

        return call

    patch.setattr(os, "open", then_pack(os.open))
    patch.setattr(Path, "open", then_pack(Path.open))
    return packed


def test_a_take_may_be_packed_while_another_process_opens_it(take: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content(take)["pictures"]
    with open_take(take) as opened:
        with monkeypatch.context() as patch:
            packed = packing_once_opened(patch, take)
            assert opened.streams.channels
        assert packed
        assert pictures_of(opened) == before


def test_a_take_may_be_packed_while_another_process_reads_it(take: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmface4d.take_streams, "CACHED_CHUNKS", 0)
    before = content(take)["pictures"]
    with open_take(take) as opened:
        depth_bytes(opened, 0, "front")
        assert pack_take(take).packed
        assert pictures_of(opened) == before


def test_pictures_that_would_grow_stay_as_they_were(tmp_path: Path) -> None:
    constant = np.full((HEIGHT, WIDTH), 700, np.uint16)
    take = write_take(tmp_path / "take", frames=4, depth=constant)
    before = content(take)
    report = pack_take(take)
    assert report.depth_bytes_after <= report.depth_bytes_before
    assert content(take) == before


def test_recovering_a_packed_take_keeps_it_packed(take: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmface4d.take_streams, "CHUNK_BYTES", 1 << 15)
    before = content(take)
    pack_take(take)
    assert recover_take(take).whole
    (take / "take.json").unlink()
    recover_take(take)
    assert content(take)["pictures"] == before["pictures"]
    with (take / "streams.mcap").open("r+b") as file:  # the index and the last bytes of the pictures
        file.truncate((take / "streams.mcap").stat().st_size * 4 // 5)
    saved = recover_take(take)
    assert 0 < saved.frames < 20
    assert scan(take / "streams.mcap").depth_encoding == ENCODING
    with open_take(take) as opened:
        assert depth_bytes(opened, 0, "front") == before["pictures"][0][3]  # type: ignore[index]


def test_a_take_with_sound_among_its_pictures(tmp_path: Path) -> None:
    sound = {"sound_rate": "48000", "sound_channels": "1"}
    cameras = [camera(serial) for serial in DELAYS]
    with TakeWriter(tmp_path / "take", cameras, fps=30.0, sound=sound) as writer:
        table = frame_table(4)
        writer.write_sound(b"\1\2\3" * 480, first=0, host_nsec=5)
        write_pictures(writer, table, depth=smooth())
        writer.write_sound(b"\4\5\6" * 480, first=490, host_nsec=9, lost=10)
        writer.finish(table)
    before = content(tmp_path / "take")
    pack_take(tmp_path / "take")
    assert content(tmp_path / "take") == before
    (tmp_path / "take" / "take.json").unlink()
    recover_take(tmp_path / "take")  # finds the sound in the packed streams
    with open_take(tmp_path / "take") as take:
        assert take.info.audio is not None
        assert take.info.audio.samples == 970


def test_a_packed_take_is_exported_as_if_it_were_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyk4a")
    noise = np.random.default_rng(0).integers(0, 5, (576, 640))
    slope = (np.add.outer(np.arange(576), np.arange(640)) + noise).astype(np.uint16)
    monkeypatch.setattr(kinect_take, "depth", lambda seed: slope + np.uint16(seed))
    take = kinect_take.write_kinect_take(
        tmp_path / "take", 3, lost={"000001": {0}}, arrivals=True, half=True, sound=True
    )  # fmt: skip

    def messages(path: Path) -> list[tuple[str, int, int, bytes]]:
        with open_take(path) as opened:
            return sorted((name, m.log_time, m.publish_time, m.data) for name, m in opened.streams.messages())

    before = messages(take)
    assert pack_take(take).packed
    assert messages(take) != before
    export_take(take, tmp_path / "out")
    import_recordings([tmp_path / "out"], tmp_path / "again").close()
    assert messages(tmp_path / "again") == before


def dying(step: str, count: int) -> Callable[[pytest.MonkeyPatch], None]:
    """Kills the process, as kill -9 does, at the n-th call of a step."""

    def arrange(patch: pytest.MonkeyPatch) -> None:
        module, name = {
            "encode": (capture.pack, "encode_ffv1"),
            "compare": (capture.pack, "_same"),
            "sync": (mmface4d.files, "sync"),
            "before replace": (os, "replace"),
            "after replace": (os, "replace"),
        }[step]
        real, calls = getattr(module, name), []

        def call(*args: object, **options: object) -> object:
            calls.append(1)
            if len(calls) == count and step != "after replace":
                os.kill(os.getpid(), signal.SIGKILL)
            out = real(*args, **options)
            if len(calls) == count:
                os.kill(os.getpid(), signal.SIGKILL)
            return out

        patch.setattr(module, name, call)

    return arrange


MOMENTS = [
    *(("encode", n) for n in (1, 2, 30, 58)), *(("compare", n) for n in (1, 57, 116)),
    *(("sync", n) for n in (1, 2)), ("before replace", 1), ("after replace", 1),
]  # fmt: skip
REPLACED = [("sync", 2), ("after replace", 1)]


@pytest.mark.parametrize(("step", "count"), MOMENTS)
def test_a_killed_packing_leaves_a_whole_take(take: Path, step: str, count: int) -> None:
    before = content(take)
    pid = os.fork()
    if pid == 0:
        with pytest.MonkeyPatch.context() as patch:
            dying(step, count)(patch)
            pack_take(take)
            os._exit(0)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL
    assert content(take) == before
    assert pack_take(take).packed == ((step, count) not in REPLACED)
    assert content(take) == before
    assert sorted(file.name for file in take.iterdir()) == ["audio.wav", "streams.mcap", "take.json"]


@pytest.mark.slow
def test_the_program_may_be_killed_at_any_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    slope = np.add.outer(np.arange(576), np.arange(640))
    monkeypatch.setattr(kinect_take, "depth", lambda seed: (slope + rng.integers(0, 5, slope.shape)).astype(np.uint16))
    take = kinect_take.write_kinect_take(tmp_path / "take", 8)

    def pictures() -> list[tuple[bytes | None, bytes | None]]:
        with open_take(take) as opened:
            return [(opened.color_jpeg(f, s), depth_bytes(opened, f, s)) for f in range(8) for s in opened.cameras]

    before = pictures()
    command = [sys.executable, "-m", "mmface4d.cli", "take", "pack", str(take)]
    started = time.monotonic()
    subprocess.run([*command[:-1], str(shutil.copytree(take, tmp_path / "copy"))], capture_output=True, check=True)
    whole_s = time.monotonic() - started
    for part in (0.2, 0.5, 0.7, 0.85, 0.95, 1.0):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(part * whole_s)
        process.kill()
        process.wait()
        assert pictures() == before
    subprocess.run(command, capture_output=True, check=True)
    assert pictures() == before
    assert not list(take.glob(".*"))
    assert (take / "streams.mcap").read_bytes() == (tmp_path / "copy" / "streams.mcap").read_bytes()


def test_unfinished_damaged_and_busy_takes_are_refused(take: Path) -> None:
    streams = (take / "streams.mcap").read_bytes()
    with (take / "streams.mcap").open("rb") as file:
        import fcntl

        fcntl.flock(file.fileno(), fcntl.LOCK_EX)
        with pytest.raises(TakeError, match="is being written"):
            pack_take(take)
    damaged = bytearray(streams)
    damaged[len(damaged) // 2] ^= 1
    (take / "streams.mcap").write_bytes(damaged)
    with pytest.raises(TakeError, match="damaged; nothing was changed"):
        pack_take(take)
    assert (take / "streams.mcap").read_bytes() == damaged
    (take / "streams.mcap").write_bytes(streams)
    (take / "take.json").unlink()
    with pytest.raises(TakeError, match="unfinished"):
        pack_take(take)
    assert (take / "streams.mcap").read_bytes() == streams


def test_a_take_whose_texts_are_damaged_is_refused(take: Path) -> None:
    """They lie before the pictures; one that cannot be read would be missing in the copy."""
    streams = (take / "streams.mcap").read_bytes()
    for name in (b"camera:left", b"left.json"):
        damaged = bytearray(streams)
        place = streams.index(name)
        damaged[place - 4 : place] = (1 << 31).to_bytes(4, "little")  # the length of its name
        (take / "streams.mcap").write_bytes(damaged)
        with pytest.raises(TakeError, match="nothing was changed"):
            pack_take(take)
        assert (take / "streams.mcap").read_bytes() == damaged


def test_a_take_with_channels_of_a_newer_program_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(mmface4d.take_streams.KINDS, "infrared", "png")
        take = tmp_path / "take"
        with TakeWriter(take, [camera(serial) for serial in DELAYS], fps=30.0) as writer:
            table = frame_table(4)
            write_pictures(writer, table, depth=smooth())
            writer._streams.write("front", "infrared", b"picture", device_usec=5)
            writer.finish(table)
    streams = (take / "streams.mcap").read_bytes()
    with pytest.raises(TakeError, match="'/front/infrared', which this program does not know"):
        pack_take(take)
    assert (take / "streams.mcap").read_bytes() == streams


def test_a_take_that_may_not_be_written_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    takes = [write_take(tmp_path / name, 4, depth=smooth()) for name in ("a", "b")]
    real = capture.pack._check_space

    def check(path: Path, needed: int) -> None:
        if path.name == "a":
            raise PermissionError(13, "Permission denied", str(path))
        real(path, needed)

    monkeypatch.setattr(capture.pack, "_check_space", check)
    done = CliRunner().invoke(pack, [str(path) for path in takes])
    assert isinstance(done.exception, SomeItemsFailedError)
    assert "Permission denied" in done.stderr
    assert not pack_take(takes[1]).packed


def test_a_codec_that_is_wrong_is_noticed_before_anything_is_lost(take: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    streams = (take / "streams.mcap").read_bytes()

    monkeypatch.setattr(capture.pack, "_smaller", lambda take, serial, data: encode_ffv1(smooth(9)))
    with pytest.raises(VerificationError, match="do not read back"):
        pack_take(take)
    assert (take / "streams.mcap").read_bytes() == streams
    assert not list(take.glob(".*"))


def test_a_full_disk_is_told_before_writing(take: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 0))  # type: ignore[attr-defined]
    with pytest.raises(DiskFullError, match="MB are left"):
        pack_take(take)


def test_the_command_goes_on_after_a_bad_take(tmp_path: Path, run_cli) -> None:
    take = write_take(tmp_path / "take", depth=smooth())
    done = run_cli("take", "pack", tmp_path / "none", take, "--json")
    assert done.returncode == 4
    assert "no such folder" in done.stderr
    (report,) = json.loads(done.stdout)
    assert report["packed"]
    assert run_cli("take", "pack", take).stdout.count("packed already") == 1
    assert run_cli("take", "check", take).returncode == 0
    assert run_cli("take", "show", take).returncode == 0


def test_ffv1_pictures_are_exact_whatever_they_hold() -> None:
    rng = np.random.default_rng(1)
    for shape in ((LEAST_SIDE, LEAST_SIDE), (17, 33), (48, 64), (16, 500), (288, 320)):
        ramp = np.arange(shape[0] * shape[1]).reshape(shape) % 65536
        for picture in (rng.integers(0, 65536, shape), np.zeros(shape), np.full(shape, 65535), ramp):
            depth_mm = picture.astype(np.uint16)
            found = decode_depth(encode_ffv1(depth_mm), width=shape[1], height=shape[0])
            np.testing.assert_array_equal(found, depth_mm)


def test_ffv1_pictures_that_are_damaged_or_of_another_size_are_told() -> None:
    good, other = encode_ffv1(smooth(0)), encode_ffv1(smooth(1))
    rng = np.random.default_rng(2)
    for place in [*range(12), *rng.integers(0, len(good), 150).tolist()]:
        bad = bytearray(good)
        bad[place] ^= 1 << int(rng.integers(8))
        decode_depth(other, width=WIDTH, height=HEIGHT)  # a damaged slice is patched with the picture before
        try:
            found = decode_depth(bytes(bad), width=WIDTH, height=HEIGHT)
        except TakeError:
            continue
        np.testing.assert_array_equal(found, smooth(0))  # a bit that says nothing of the pixels
    for width, height in ((HEIGHT, WIDTH), (WIDTH * 2, HEIGHT // 2), (1, 1), (640, 576)):
        with pytest.raises(TakeError):
            decode_depth(good, width=width, height=height)
    head = HEAD.size + HEAD.unpack_from(good)[2]
    for length in (0, 4, 9, 40, head, head + 1, len(good) // 2):
        with pytest.raises(TakeError):
            decode_depth(good[:length], width=WIDTH, height=HEIGHT)
        np.testing.assert_array_equal(decode_depth(good, width=WIDTH, height=HEIGHT), smooth(0))


def test_threads_do_not_share_decoders() -> None:
    packed = [encode_ffv1(smooth(frame)) for frame in range(40)]
    barrier = threading.Barrier(4)

    def decode(start: int) -> bool:
        barrier.wait()
        return all(
            np.array_equal(decode_depth(packed[frame], width=WIDTH, height=HEIGHT), smooth(frame))
            for frame in range(start, 40, 2)
        )

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(decode, (0, 1, 0, 1)))


def test_the_two_codecs_are_told_apart() -> None:
    assert encode_ffv1(smooth())[: len(MAGIC)] == MAGIC != encode_depth(smooth())[: len(MAGIC)]
