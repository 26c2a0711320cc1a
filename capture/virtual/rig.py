"""Three virtual Kinects around an actor: what each of them records, when, and how it is written as a take.

World frame: the master's colour camera. The actor stands at the origin of the actor frame (x to the subject's left,
y up, z towards the master), which is where the devices look.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from capture.virtual.body import Anatomy, room
from capture.virtual.lens import factory_calibration, parse
from capture.virtual.scene import Hits, Lighting, Mesh, Surface, camera_rays, join, room_lighting
from capture.virtual.sensor import ColorSensor, SensorSettings, Uncertainty, depth_image, exposed, jpeg
from mmface4d.arrays import DepthImage, Faces, Points, Transform
from mmface4d.cameras import Intrinsics, RgbdCamera
from mmface4d.rig_calibration import RigCalibration
from mmface4d.transforms import invert, rigid, rotation_from_rotvec, transform

FPS_MODES = (5, 15, 30)  # of a Kinect
ANGLES_DEG = (-45.0, 0.0, 45.0)  # left of the master, the master, right of it
MASTER = 1
DISTANCE_M = 0.76
MISPLACED_M, MISPLACED_DEG = 0.010, 1.5
# lasers must not overlap; a device rounds the delays down to its ticks of 11.1 µs
DEPTH_DELAY_USEC = (-160, 0, 160)
TICK_USEC = 100 / 9
CLOCK_SPREAD_USEC, CLOCK_SPREAD_PPM, CLOCK_JITTER_USEC = 12.0, 2.0, 4.0
FIRST_FRAME_USEC = 1_000_000  # the master's clock at the first frame
CROP_MARGIN_PX = 6


@dataclass(frozen=True)
class VirtualHead:
    """A moving face as plain numbers: vertices in the world, one sRGB colour (0..1) each, and its rigid motion.

    `eyes` (eyeballs and lids) and `mouth_inside` mark vertices that depth sees badly.
    """

    vertices: Float[np.ndarray, "n_frames n_verts 3"]
    faces: Faces
    colors: Float[np.ndarray, "n_verts 3"]
    world_from_head: Float[np.ndarray, "n_frames 4 4"]
    eyes: Bool[np.ndarray, "n_verts"]
    mouth_inside: Bool[np.ndarray, "n_verts"]

    def __len__(self) -> int:
        return len(self.vertices)

    @property
    def skin(self) -> Float[np.ndarray, "3"]:
        """The colour of most of it."""
        return np.median(self.colors, 0)

    @cached_property
    def _anatomy(self) -> Anatomy:
        return Anatomy(self.faces, self.colors, self.eyes)

    def mesh(self, frame: int) -> Mesh:
        """The whole head of a frame in the world; the face's vertices come first."""
        pose = self.world_from_head[frame]
        face = Mesh(self.vertices[frame], self.faces, self.colors, self.eyes | self.mouth_inside)
        rest = self._anatomy.close(transform(invert(pose), self.vertices[frame]))
        return join(face, *(part.moved(pose) for part in rest))


@dataclass(frozen=True)
class Clock:
    """A device's clock against the master's: offset, rate and the jitter of its readings."""

    offset_usec: float = 0.0
    rate_ppm: float = 0.0
    jitter_usec: float = 0.0

    def read(self, master_usec: Int[np.ndarray, "n_frames"], rng: np.random.Generator) -> Int[np.ndarray, "n_frames"]:
        """What this clock shows at some instants of the master's."""
        since_start = master_usec - FIRST_FRAME_USEC
        drift = self.offset_usec + since_start * self.rate_ppm * 1e-6
        return np.rint(master_usec + drift + self.jitter_usec * rng.standard_normal(len(master_usec))).astype(np.int64)


@dataclass(frozen=True)
class VirtualKinect:
    """One device: its factory calibration as handed out and as read, its pose, clock, sensors and seed."""

    serial: str
    role: str  # "master" or "subordinate"
    factory_blob: bytes
    camera: RgbdCamera
    world_from_camera: Transform
    clock: Clock
    depth_delay_usec: int
    sensors: SensorSettings
    seed: int

    @property
    def world_from_depth(self) -> Transform:
        """Pose of the depth imager."""
        return self.world_from_camera @ self.camera.color_from_depth


@dataclass(frozen=True)
class VirtualRig:
    """The devices, left to right as the master sees them, and where the actor stands."""

    devices: tuple[VirtualKinect, ...]
    world_from_actor: Transform
    seed: int

    @property
    def master(self) -> VirtualKinect:
        """The device whose colour camera is the world."""
        return next(device for device in self.devices if device.role == "master")

    def truth(self) -> RigCalibration:
        """The calibration that nobody has to estimate."""
        return RigCalibration(
            master=self.master.serial,
            cameras={device.serial: device.camera for device in self.devices},
            world_from_camera={device.serial: device.world_from_camera for device in self.devices},
        )


def virtual_rig(*, seed: int = 0, noise: bool = True) -> VirtualRig:
    """Three devices at 0 and ±45 degrees, each misplaced, turned and made a little differently."""
    rng = np.random.default_rng([seed, 1])
    actor_from_camera = [_placed(np.radians(angle), rng) for angle in ANGLES_DEG]
    world_from_actor = invert(actor_from_camera[MASTER])
    devices = []
    for place, pose in enumerate(actor_from_camera):
        serial = f"{900_000_000_000 + 1000 * seed + place:012d}"
        blob = factory_calibration(serial, rng)
        color = rng.uniform(0.92, 1.08) * rng.uniform(0.95, 1.05, 3)
        spread = rng.standard_normal(2)
        is_master = place == MASTER
        devices.append(VirtualKinect(
            serial=serial,
            role="master" if is_master else "subordinate",
            factory_blob=blob,
            camera=parse(blob),
            world_from_camera=np.eye(4) if is_master else world_from_actor @ pose,
            clock=Clock() if is_master else _clock(spread),
            depth_delay_usec=DEPTH_DELAY_USEC[place],
            sensors=SensorSettings(noise=noise, white_balance=tuple(color.tolist()) if noise else (1.0, 1.0, 1.0)),
            seed=int(rng.integers(2**31)),
        ))  # fmt: skip
    return VirtualRig(tuple(devices), world_from_actor, seed)


def _clock(spread: np.ndarray) -> Clock:
    return Clock(CLOCK_SPREAD_USEC * float(spread[0]), CLOCK_SPREAD_PPM * float(spread[1]), CLOCK_JITTER_USEC)


def _placed(angle_rad: float, rng: np.random.Generator) -> Transform:
    """actor_from_camera of a device that should look at the actor from `angle_rad`, and nearly does."""
    place = DISTANCE_M * np.array([np.sin(angle_rad), 0, np.cos(angle_rad)])
    place = place + MISPLACED_M * rng.standard_normal(3)
    forward = -place / np.linalg.norm(place)
    right = np.cross(forward, [0, 1, 0])
    right /= np.linalg.norm(right)
    aimed = np.stack([right, np.cross(forward, right), forward], 1)
    return rigid(aimed @ rotation_from_rotvec(np.radians(MISPLACED_DEG) * rng.standard_normal(3)), place)


@dataclass(frozen=True)
class Shot:
    """What one device delivers for one frame."""

    color_jpeg: bytes
    depth_mm: DepthImage


class Backdrop:
    """What a device sees of a room with nobody in it."""

    def __init__(self, device: VirtualKinect, room: Surface) -> None:
        camera = device.camera
        self.color = room.cast(camera_rays(camera.color.ray_grid, device.world_from_camera), light_only=True)
        self.depth = room.cast(camera_rays(camera.depth.ray_grid, device.world_from_depth))
        self.exposed = exposed(self.color.light, device.sensors)
        self.uncertainty = Uncertainty.of(self.depth)


class DeviceView:
    """A device in a room: renders what it sees of a head."""

    def __init__(self, device: VirtualKinect, behind: Backdrop) -> None:
        self.device, self._behind = device, behind
        self._rng = np.random.default_rng(device.seed)
        self._sensor = ColorSensor(device.sensors, self._rng)

    def shoot(self, head: Surface) -> Shot:
        """The device's picture and depth of a head in front of the room."""
        device, behind = self.device, self._behind
        color_crop, color = _cast_crop(
            head, device.camera.color, device.world_from_camera, behind=behind.color, light_only=True
        )
        values = behind.exposed.copy()
        values[color_crop] = self._sensor.expose(color.light)
        depth_crop, depth = _cast_crop(head, device.camera.depth, device.world_from_depth, behind=behind.depth)
        whole = _pasted(behind.depth, depth, depth_crop)
        uncertainty = behind.uncertainty.pasted(Uncertainty.of(depth), depth_crop)
        picture = self._sensor.grainy(values)
        return Shot(jpeg(picture), depth_image(whole, device.sensors, self._rng, uncertainty=uncertainty))


Window = tuple[slice, slice]  # rows, columns


def _cast_crop(
    head: Surface, imager: Intrinsics, world_from_imager: Transform, *, behind: Hits, light_only: bool = False
) -> tuple[Window, Hits]:
    window = head_window(head.mesh.vertices, imager, world_from_imager)
    rays = np.ascontiguousarray(camera_rays(imager.ray_grid[window], world_from_imager))
    return window, head.cast(rays, light_only=light_only).in_front_of(behind.part(*window))


def head_window(points_in_world: Points, imager: Intrinsics, world_from_imager: Transform) -> Window:
    """Rows and columns of the pixels around some points."""
    points = transform(invert(world_from_imager), points_in_world)
    pixels = imager.project(points[points[:, 2] > 0.05])
    if not len(pixels):
        return slice(0, 0), slice(0, 0)
    low = np.clip(np.floor(pixels.min(0)).astype(int) - CROP_MARGIN_PX, 0, imager.size)
    high = np.clip(np.ceil(pixels.max(0)).astype(int) + CROP_MARGIN_PX + 1, 0, imager.size)
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))


def _pasted(back: Hits, front: Hits, window: Window) -> Hits:
    whole = replace(
        back, depth_m=back.depth_m.copy(), light=back.light, cosine=back.cosine.copy(), weak=back.weak.copy()
    )
    whole.depth_m[window], whole.cosine[window], whole.weak[window] = front.depth_m, front.cosine, front.weak
    return whole


class Room:
    """A rig's room, with a neck and torso of some skin, rendered once for any number of heads."""

    def __init__(self, rig: VirtualRig, skin: Float[np.ndarray, "3"]) -> None:
        self.skin = skin
        self.lighting: Lighting = room_lighting(rig.world_from_actor)
        still = room(skin, np.random.default_rng([rig.seed, 2])).moved(rig.world_from_actor)
        surface = Surface(still, self.lighting, shadows=False)
        with ThreadPoolExecutor() as pool:
            self.backdrops = list(pool.map(lambda device: Backdrop(device, surface), rig.devices))


class Studio:
    """A rig, a room and a head: what the devices deliver, frame after frame.

    `studio.room` may be given to the next head's studio if its skin is the same.
    """

    def __init__(self, rig: VirtualRig, head: VirtualHead, *, room: Room | None = None) -> None:
        self.rig, self.head = rig, head
        self.room = room or Room(rig, head.skin)
        self._views = list(map(DeviceView, rig.devices, self.room.backdrops))

    def frames(self) -> Iterator[dict[str, Shot]]:
        """For every frame of the head in turn, each device's shot by serial."""
        with ThreadPoolExecutor(len(self._views) + 1) as pool:
            # the next head is lit while this one is seen
            following = pool.submit(self._surface, 0)
            for frame in range(len(self.head)):
                surface = following.result()
                if frame + 1 < len(self.head):
                    following = pool.submit(self._surface, frame + 1)
                shots = list(pool.map(lambda view, seen=surface: view.shoot(seen), self._views))
                yield {view.device.serial: shot for view, shot in zip(self._views, shots, strict=True)}

    def _surface(self, frame: int) -> Surface:
        return Surface(self.head.mesh(frame), self.room.lighting)


def master_times_usec(frame_count: int, fps: float) -> Int[np.ndarray, "n_frames"]:
    """The master's clock at each frame; real devices count in ticks, so intervals are not all alike."""
    ticks = np.rint(np.arange(frame_count) * 1e6 / fps / TICK_USEC)
    return FIRST_FRAME_USEC + np.rint(ticks * TICK_USEC).astype(np.int64)


def depth_times_usec(device: VirtualKinect, color_usec: Int[np.ndarray, "n_frames"]) -> Int[np.ndarray, "n_frames"]:
    """The depth exposures that belong to a device's colour exposures: its delay, in whole ticks."""
    return color_usec + round(in_ticks_usec(device.depth_delay_usec))


def in_ticks_usec(delay_usec: int) -> float:
    """A delay as a device keeps it: rounded towards zero to whole ticks."""
    return float(np.trunc(delay_usec / TICK_USEC) * TICK_USEC)
