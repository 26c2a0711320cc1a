"""Building a release of a lab."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from corpus.dataset.items import Item, lab_index
from corpus.release.cameras import write_cameras, write_landmarks
from corpus.release.content import Content, changes_between
from corpus.release.finishing import finish
from corpus.release.identity import age_band, lab_identity
from corpus.release.layout import CHANGELOG, FileRow, ReleaseRecord, SequenceRow, SubjectRow, Tombstone
from corpus.release.ledger import remember, splits_so_far
from corpus.release.meshes import MeshFacts, hash_of_faces, write_mesh
from corpus.release.pictures import write_color, write_depth, write_preview
from corpus.release.plan import Plan, Planned, missing, plan_release, reasons
from corpus.release.reader import Release, open_release
from corpus.release.shards import Member, ShardSet
from corpus.release.sound import write_sound
from corpus.release.space import check_space, estimated_bytes
from corpus.release.splits import SplitRules
from corpus.release.tables import pyarrow_modules
from corpus.release.versions import chosen_version, parts
from mmface4d.errors import ConsentError, InputError
from mmface4d.face_topology import FaceTopology
from mmface4d.lab import Lab
from mmface4d.locks import locked
from mmface4d.new_folder import new_folder
from mmface4d.progress import progress
from mmface4d.sequence import load_sequence
from mmface4d.take import Take, open_take
from mmface4d.withdrawal import withdrawn_people

DEFAULT_LICENCE = "No licence has been given. Ask those who made this release before you use it or pass it on.\n"
# why a component of an item is missing where writing it failed; what exactly is wrong holds paths, and stays here
FAILED = {
    "meshes": "the sequence is damaged",
    "audio": "no sound that is placed in time",
    "landmarks": "no landmarks of all frames",
    "depth": "the depth pictures are damaged",
    "rgb": "the colour pictures are damaged",
}


@dataclass(frozen=True)
class BuildOptions:
    """What is wanted of a release; `version` None stands for the least that says what changed."""

    name: str = "4-D talking faces"
    version: str | None = None
    components: tuple[str, ...] = ("meshes", "audio", "landmarks")
    encoding: str = "float32"
    rules: SplitRules = SplitRules()
    shard_bytes: int = 1_000_000_000
    licence: str = DEFAULT_LICENCE
    published: date | None = None


@dataclass
class _Written:
    """What stands in the shards so far."""

    sequences: list[SequenceRow]
    files: list[FileRow]


def build_release(
    lab: Lab, output: Path, options: BuildOptions, *, topology: Callable[[str], FaceTopology],
    previous: Release | None = None, today: date | None = None,
) -> Content:  # fmt: skip
    """Writes the release of a lab's kept takes; `topology` gives template and regions by the name of a model.

    Raises InputError where nothing can be released or a setting contradicts the release before, ConsentError where
    somebody withdraws meanwhile, DiskFullError where it would not fit, and what `new_folder` raises.
    """
    pyarrow_modules()  # what is not there is better missed before hours of work
    chosen_version(options.version, previous.record.version if previous else None, removed=False, added=False)
    # two at a time would give two releases one version
    with locked(lab.path / ".release.lock", what=f"a release of {lab.path}"):
        with new_folder(output, why="a release is never changed") as folder:
            identity = lab_identity(lab.path, make=previous is None)
            before = splits_so_far(lab.path, previous)
            gone = withdrawn_people(lab)
            items = lab_index(lab, today=today)
            _refuse_strangers(options.rules, lab, {item.pseudonym for item in items if item.pseudonym} | gone.keys())
            plan = plan_release(
                items, identity=identity, rules=options.rules, components=options.components,
                previous=previous, before=before,
            )  # fmt: skip
            face = _matching(topology, plan)
            sizes = [estimated_bytes(each, encoding=options.encoding) for each in plan.planned]
            check_space(folder, sizes, what=output)
            written = _write_shards(folder, lab, plan, options)
            content = _content(plan, written, options, fingerprint=identity.fingerprint, previous=previous)
            finish(folder, content, face=face)
            if withdrawn_people(lab) != gone or not _still_permitted(plan, lab_index(lab, today=today)):
                raise ConsentError("somebody withdrew while the release was written", hint="run the same command again")
        remember(lab.path, open_release(output), before=before)
    return content


def _refuse_strangers(rules: SplitRules, lab: Lab, known: set[str]) -> None:
    """Raises InputError where rules name somebody whom the lab does not know: a slip of the pen."""
    strangers = sorted(rules.explicit.keys() - known - {path.stem for path in lab.subjects.glob("*.json")})
    if strangers:
        raise InputError(
            f"the list of splits names people whom {lab.path} does not know: {', '.join(strangers[:20])}",
            hint="see who is there with: mmface4d subject list",
        )


def _still_permitted(plan: Plan, items: list[Item]) -> bool:
    """Whether everything that was planned may still be used for all that it was used for."""
    now = {(item.session, item.sentence.id): item.scopes for item in items if item.usable and item.sentence}
    return all(
        each.item.sentence and each.item.scopes <= now.get((each.item.session, each.item.sentence.id), frozenset())
        for each in plan.planned
    )


def newest_release(lab: Lab, *, but: Path | None = None) -> Release | None:
    """The release with the highest version in the lab's folder of releases; what is none is passed over."""
    found = []
    for record in sorted(lab.releases.glob("[!.]*/index/release.json")):
        path = record.parent.parent
        if but is None or path.resolve() != but.resolve():
            found.append(open_release(path))
    return max(found, key=lambda release: parts(release.record.version), default=None)


def _matching(topology: Callable[[str], FaceTopology], plan: Plan) -> FaceTopology:
    wanted = plan.topology
    if wanted is None:
        raise InputError("nothing can be released", hint="reconstruct takes of people who consented")
    face = topology(wanted.model)
    if hash_of_faces(face.faces) != wanted.faces_sha256 or len(face.template) != wanted.vertex_count:
        raise InputError(
            f"the model {wanted.model} here has other triangles than the sequences",
            hint="add the model that they were made with: mmface4d model add",
        )
    return face


def _write_shards(folder: Path, lab: Lab, plan: Plan, options: BuildOptions) -> _Written:
    written = _Written([], [])
    places = lab.settings.cameras.positions
    with ExitStack() as stack:
        files = Path(stack.enter_context(TemporaryDirectory(dir=folder, prefix=".files-")))
        shards = stack.enter_context(ShardSet(folder, limit_bytes=options.shard_bytes))
        bar = stack.enter_context(progress("release", len(plan.planned)))
        for planned in plan.planned:
            _Item(planned, plan, files, places=places, encoding=options.encoding).write(shards, written)
            bar.advance()
    return written


class _Item:
    """Writes the files of one item, and puts them into the shards."""

    def __init__(self, planned: Planned, plan: Plan, files: Path, *, places: dict[str, str], encoding: str) -> None:
        self.planned, self.plan, self.files, self.places, self.encoding = planned, plan, files, places, encoding
        self.members: list[Member] = []

    def write(self, shards: ShardSet, written: _Written) -> None:
        """Nothing of it where its mesh cannot be written; what else fails is listed as missing."""
        reason: str | None = FAILED["meshes"]
        try:
            self.sequence = load_sequence(self.planned.sequence)
            facts = write_mesh(self._path("meshes", "mesh.npz"), self.sequence, encoding=self.encoding)
            reason = "the take is damaged"
            with open_take(self.planned.take) as take:
                if reason := self._mismatch(take):
                    raise InputError(f"{take.path}: {reason}", hint="record or reconstruct it again")
                for component in self.planned.components:
                    self._component(component, take, facts)
        except ConsentError as error:
            raise ConsentError("somebody withdrew while the release was written", hint="run it again") from error
        except InputError:
            self.plan.missing.append(missing(self.planned, "all", reason or FAILED["meshes"]))
            self._delete()
            return
        rows = shards.add(self.planned.split, self.members)
        written.files += rows
        written.sequences.append(self._row(facts, rows, take))
        self._delete()

    def _path(self, component: str, suffix: str) -> Path:
        member = Member(self.planned.id, component, suffix, self.files / f"{component}-{suffix}")
        self.members.append(member)
        return member.path

    def _delete(self) -> None:
        for path in self.files.iterdir():
            path.unlink()

    def _mismatch(self, take: Take) -> str | None:
        """Why the take cannot be what its session says it is."""
        item, source = self.planned.item, take.info.source
        if item.virtual and source.get("virtual") is not True:
            return "the take does not say that it is virtual"
        if source.get("subject", item.pseudonym) != item.pseudonym:
            return "the take is of another subject"
        self.frames = np.searchsorted(take.timestamps_usec, self.sequence.timestamps_usec)
        found = np.append(take.timestamps_usec, -1)[self.frames]
        return "the sequence is of another take" if (found != self.sequence.timestamps_usec).any() else None

    def _component(self, component: str, take: Take, facts: MeshFacts) -> None:
        before = len(self.members)
        try:
            getattr(self, f"_{component}")(take, facts)
        except InputError:
            del self.members[before:]
            self.plan.missing.append(missing(self.planned, component, FAILED[component]))

    def _meshes(self, take: Take, facts: MeshFacts) -> None:
        """They are there already."""

    def _audio(self, take: Take, facts: MeshFacts) -> None:
        first = int(self.sequence.timestamps_usec[0])
        write_sound(self._path("audio", "audio.wav"), take, first_usec=first, duration_s=facts.duration_s)

    def _landmarks(self, take: Take, facts: MeshFacts) -> None:
        write_landmarks(self._path("landmarks", "landmarks.npz"), take, self.frames)
        self._cameras("landmarks", take)

    def _depth(self, take: Take, facts: MeshFacts) -> None:
        write_depth(self._path("depth", "depth.mkv"), take, self.frames, fps=facts.fps)
        self._cameras("depth", take)

    def _rgb(self, take: Take, facts: MeshFacts) -> None:
        write = write_preview if self.planned.preview else write_color
        suffix = "preview.mkv" if self.planned.preview else "rgb.mkv"
        write(self._path("rgb", suffix), take, self.frames, fps=facts.fps)
        self._cameras("rgb", take)

    def _cameras(self, component: str, take: Take) -> None:
        path = self._path(component, "cameras.json")
        write_cameras(path, take, self.sequence, frames=self.frames, places=self.places)

    def _row(self, facts: MeshFacts, rows: list[FileRow], take: Take) -> SequenceRow:
        planned, sentence = self.planned, self.planned.item.sentence
        if sentence is None:
            raise InputError(f"{planned.take} has no sentence", hint="mend the session's log")
        mesh = next(row for row in rows if row.component == "meshes")
        there = {row.component for row in rows}
        audio = take.info.audio
        return SequenceRow(
            id=planned.id, subject=planned.subject, sentence=sentence.id, text=sentence.text,
            language=sentence.language, emotion=sentence.emotion, frames=facts.frames, fps=facts.fps,
            duration_s=facts.duration_s, split=planned.split,
            components=" ".join(name for name in planned.components if name in there),
            shard=mesh.shard, offset=mesh.offset, bytes=mesh.bytes, sha256=mesh.sha256, quality=facts.quality,
            depth_residual_mm=facts.depth_residual_mm, max_error_mm=facts.max_error_mm,
            frame_gap_ms=facts.frame_gap_ms, token=planned.token,
            sound_start=audio.start_source if audio and "audio" in there else None,
        )  # fmt: skip


def _content(
    plan: Plan, written: _Written, options: BuildOptions, *, fingerprint: str, previous: Release | None
) -> Content:
    if not written.sequences or plan.topology is None:
        raise InputError(f"nothing can be released: {reasons(plan.missing)}", hint="reconstruct the takes again")
    changes = changes_between(previous, written.sequences, written.files)
    last = previous.record.version if previous else None
    other_mesh = previous is not None and previous.record.topology_sha256 != plan.topology.faces_sha256
    version = chosen_version(
        options.version, last, removed=changes.removed or other_mesh, added=changes.added,
    )  # fmt: skip
    record = ReleaseRecord(
        name=options.name, version=version, previous=last,
        components=tuple(name for name in FAILED if name in options.components),  # type: ignore[arg-type]
        vertices=options.encoding, model=plan.topology.model,  # type: ignore[arg-type]
        topology_sha256=plan.topology.faces_sha256, vertex_count=plan.topology.vertex_count,
        key_fingerprint=fingerprint, shard_bytes=options.shard_bytes,
        published=options.published.isoformat() if options.published else None,
    )  # fmt: skip
    content = Content(
        record, written.sequences, written.files, _subjects(plan, written), sorted(plan.missing), options.licence
    )
    content.tombstones = _tombstones(plan, version, previous)
    content.history = history_of(previous)
    content.changes = changes.lines()
    return content


def _subjects(plan: Plan, written: _Written) -> list[SubjectRow]:
    there = {row.id for row in written.sequences}
    rows: dict[str, SubjectRow] = {}
    for each in plan.planned:
        if each.id not in there:
            continue
        person = each.item.subject
        row = rows.get(each.subject) or SubjectRow(
            pseudonym=each.subject, split=each.split, age_band=age_band(person.age if person else None),
            gender=person.gender if person else "unknown", language=person.language if person else "unknown",
            scopes=" ".join(sorted(each.item.scopes)), sequences=0, virtual=each.item.virtual,
        )  # fmt: skip
        rows[each.subject] = replace(row, sequences=row.sequences + 1)
    return sorted(rows.values(), key=lambda row: row.pseudonym)


def _tombstones(plan: Plan, version: str, previous: Release | None) -> list[Tombstone]:
    """Those of before, and one for everybody who may be published no more."""
    if previous is None:
        return []
    new = [
        Tombstone(subject=name, since=version, sequences=row.sequences)
        for name, row in sorted(previous.subjects.items())
        if name not in plan.permitted
    ]
    return [*previous.tombstones, *new]


def history_of(previous: Release | None) -> str:
    """The CHANGELOG of a release, without its title."""
    path = None if previous is None else previous.path / CHANGELOG
    if path is None or not path.is_file() or path.stat().st_size > 1 << 20:
        return ""
    return path.read_text(encoding="utf-8", errors="replace").partition("\n\n")[2]
