"""Performances as cameras see them: rendered once, kept, found again, and rendered anew where they were damaged."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from capture.virtual import render
from capture.virtual.clip_cache import ClipCache
from capture.virtual.performance import Performance, idle
from capture.virtual.render import ClipRenderer, clip_key, render_clip, save_truth
from capture.virtual.rig import Shot, VirtualHead, VirtualRig, virtual_rig
from capture.virtual.stage import Clip, Stage
from mmface4d.cameras import RgbdCamera
from mmface4d.transforms import transform
from tests.capture.test_virtual_rig import dome


@pytest.fixture(scope="module")
def rig() -> VirtualRig:
    """Cameras of a quarter of the size, which are quick to render."""
    whole = virtual_rig(seed=6)
    devices = []
    for device in whole.devices:
        camera = device.camera
        small = RgbdCamera(camera.serial, camera.color.scaled(0.25), camera.depth.scaled(0.25), camera.color_from_depth)
        devices.append(replace(device, camera=small))
    return replace(whole, devices=tuple(devices))


def dome_face(weights: np.ndarray, names: tuple[str, ...], world_from_head: np.ndarray) -> VirtualHead:
    """A face that sinks a little where it blinks."""
    vertices, faces = dome()
    blink = weights[:, names.index("eyeBlinkLeft")]
    moved = [transform(pose, vertices - [0, 0, 0.01 * shut]) for pose, shut in zip(world_from_head, blink, strict=True)]
    colors = np.tile([0.75, 0.58, 0.48], (len(vertices), 1))
    nothing = np.zeros(len(vertices), bool)
    return VirtualHead(np.stack(moved), faces, colors, world_from_head, eyes=nothing, mouth_inside=nothing)


@pytest.fixture(scope="module")
def performance() -> Performance:
    return idle(seconds=0.4, seed=1, fps=5)


@pytest.fixture(scope="module")
def clip(rig, performance) -> Clip:
    return render_clip(performance, dome_face, rig)


def same(first: Clip, second: Clip) -> bool:
    if len(first.shots) != len(second.shots) or not np.array_equal(first.sound, second.sound):
        return False
    return all(
        one[serial].color_jpeg == other[serial].color_jpeg
        and np.array_equal(one[serial].depth_mm, other[serial].depth_mm)
        for one, other in zip(first.shots, second.shots, strict=True)
        for serial in one
    )


def test_a_clip_shows_every_frame_to_every_device(rig, performance, clip):
    assert len(clip.shots) == len(performance) == 2
    for shots in clip.shots:
        assert set(shots) == {device.serial for device in rig.devices}
        for shot in shots.values():
            assert cv2.imdecode(np.frombuffer(shot.color_jpeg, np.uint8), cv2.IMREAD_COLOR).shape == (270, 480, 3)
            assert (shot.depth_mm > 0).mean() > 0.3
    assert Stage(clip, fps=5).shot(rig.master.serial, 0) is clip.shots[0][rig.master.serial]


def test_the_same_performance_is_the_same_bytes_even_in_a_used_room(rig, performance, clip):
    renderer = ClipRenderer(rig, dome_face)
    renderer.clip(idle(seconds=0.2, seed=9, fps=5))
    assert same(renderer.clip(performance), clip)


def test_what_was_rendered_is_not_rendered_again(rig, performance, clip, tmp_path, monkeypatch):
    cache = ClipCache(tmp_path)
    first = render_clip(performance, dome_face, rig, cache=cache)
    monkeypatch.setattr(render, "Studio", None)  # whoever renders now fails
    again = render_clip(performance, dome_face, rig, cache=ClipCache(tmp_path))
    assert same(first, clip)
    assert same(again, clip)
    with pytest.raises(TypeError):
        render_clip(replace(performance, sound=performance.sound + 0.1), dome_face, rig, cache=cache)


def test_the_key_knows_everything_that_matters(rig, performance):
    head = ClipRenderer(rig, dome_face).head(performance)
    device = rig.devices[0]
    other_rig = replace(rig, devices=(replace(device, seed=device.seed + 1), *rig.devices[1:]))
    moved = head.vertices.copy()
    moved[-1, 0, 0] = np.nextafter(moved[-1, 0, 0], 1)
    keys = [
        clip_key(performance, head, rig),
        clip_key(performance, replace(head, vertices=moved), rig),
        clip_key(performance, replace(head, colors=0.9 * head.colors), rig),
        clip_key(replace(performance, sound=performance.sound[:-1]), head, rig),
        clip_key(performance, head, other_rig),
        clip_key(performance, head, replace(rig, seed=77)),
    ]
    assert len(set(keys)) == len(keys)
    assert keys[0] == clip_key(performance, ClipRenderer(rig, dome_face).head(performance), rig)


@pytest.mark.parametrize("damage", ["cut", "bit", "empty", "other"])
def test_a_damaged_entry_is_rendered_anew(rig, performance, clip, tmp_path, damage):
    cache = ClipCache(tmp_path)
    cache.put("whole", clip)
    path = cache.path(clip_key(performance, ClipRenderer(rig, dome_face).head(performance), rig))
    data = bytearray(cache.path("whole").read_bytes())
    if damage == "cut":
        data = data[: len(data) // 2]
    elif damage == "bit":
        data[len(data) // 2] ^= 8
    elif damage == "empty":
        data = bytearray()
    else:
        data = bytearray(b"PK\x05\x06" + bytes(18))  # an empty zip
    path.write_bytes(data)
    assert same(render_clip(performance, dome_face, rig, cache=cache), clip)
    kept = cache.get(path.stem)
    assert kept is not None
    assert same(kept, clip)


def test_no_flipped_bit_goes_unseen(tmp_path):
    tiny = Clip(({"a": Shot(b"J" * 20, np.full((4, 6), 3, np.uint16))},), np.zeros(10))
    cache = ClipCache(tmp_path)
    cache.put("a", tiny)
    whole = cache.path("a").read_bytes()
    for bit in range(8 * len(whole)):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        cache.path("a").write_bytes(data)
        kept = cache.get("a")
        assert kept is None or same(kept, tiny)


def small_clip(value: int) -> Clip:
    return Clip(({"a": Shot(bytes([value]) * 100_000, np.full((4, 6), value, np.uint16))},), np.zeros(10))


def test_the_cache_keeps_to_its_size_and_forgets_the_oldest(tmp_path):
    import os

    cache = ClipCache(tmp_path, max_bytes=350_000)
    for value in range(3):
        cache.put(f"k{value}", small_clip(value))
        os.utime(cache.path(f"k{value}"), (1000 + value, 1000 + value))
    assert cache.get("k0") is not None  # asked for: now the newest
    killed = tmp_path / ".k9.1234abcd.partial.zip"
    killed.write_bytes(b"half")
    os.utime(killed, (1000, 1000))
    cache.put("k3", small_clip(3))
    assert [cache.get(f"k{value}") is not None for value in range(4)] == [True, False, True, True]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 350_000
    assert not killed.exists()
    ClipCache(tmp_path, max_bytes=10).put("large", small_clip(5))
    assert [path.name for path in tmp_path.iterdir()] == ["large.zip"]


def test_a_full_disk_costs_only_the_cache(rig, performance, clip, tmp_path, monkeypatch):
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("capture.virtual.clip_cache._write", full)
    assert same(render_clip(performance, dome_face, rig, cache=ClipCache(tmp_path)), clip)
    assert not list(tmp_path.iterdir())


def test_equal_clips_are_equal_files(clip, tmp_path):
    cache = ClipCache(tmp_path)
    assert cache.put("a", clip)
    assert cache.put("b", clip)
    assert cache.path("a").read_bytes() == cache.path("b").read_bytes()


def test_the_truth_can_be_kept(rig, performance, tmp_path):
    head = ClipRenderer(rig, dome_face).head(performance)
    save_truth(tmp_path / "truth.npz", performance, head)
    with np.load(tmp_path / "truth.npz", allow_pickle=False) as truth:
        assert np.allclose(truth["vertices"], head.vertices, atol=1e-6)
        assert truth["names"].tolist() == list(performance.names)
        assert np.array_equal(truth["weights"], performance.weights)
        assert truth["phoneme_spans_s"].shape == (0, 2)
        assert np.allclose(truth["times_s"], [0, 0.2])
