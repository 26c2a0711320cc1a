"""What a batch is to do: every take of labs and sessions that can be reconstructed, and why the others cannot."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from mmface4d.errors import InputError, Mmface4dError, UsageError
from mmface4d.lab import LAB_FILE, Lab, find_lab, open_lab
from mmface4d.results import ResultPlace, actor_place, sequence_place
from mmface4d.session import open_session
from mmface4d.session_folders import COPY, RECORD, find_sessions
from mmface4d.withdrawal import is_withdrawn
from reconstruct.batches.jobs import Job
from reconstruct.batches.sharding import Shard
from reconstruct.settings import ReconstructSettings

CALIBRATION = "calibration.json"


class LeftOut(NamedTuple):
    """A take, or a session, that the batch does not touch. `fault`: it should have been done, and cannot be."""

    item: str
    reason: str
    fault: bool = False


@dataclass(frozen=True)
class Choice:
    """What the operator asks for."""

    settings: ReconstructSettings = field(default_factory=ReconstructSettings)
    model: str = "canonical"
    calibration: Path | None = None
    output: Path | None = None
    actor: Path | None = None
    one_actor: bool = False
    shard: Shard | None = None


@dataclass(frozen=True)
class Group:
    """The takes of a session that its actor is solved of, and those whose sequences are asked for."""

    name: str
    home: Path
    calibration: Path
    takes: tuple[Path, ...]
    wanted: tuple[Path, ...]
    hidden: str
    flat: bool = False  # takes outside any session: their sequences lie in the output folder itself

    def sequence(self, take: Path) -> ResultPlace:
        """Where the sequence of a take goes."""
        return ResultPlace(self.home / f"{take.name}.npz") if self.flat else sequence_place(self.home, take.name)


@dataclass
class Plan:
    """Jobs in the order in which they are begun, and what is left out."""

    jobs: list[Job] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    of_all_shards: int = 0  # jobs

    @property
    def sequences(self) -> list[Job]:
        """The jobs that make a sequence."""
        return [job for job in self.jobs if job.what == "sequence"]


def make_plan(paths: Sequence[Path], choice: Choice) -> Plan:
    """The whole plan of labs, sessions and takes; raises InputError where a path is none of them.

    All its paths are whole: workers may stand elsewhere, and a lab is the same from wherever it is named.
    """
    paths, choice = [_whole(path) for path in paths], _with_whole_paths(choice)
    plan = Plan()
    by_group = [_jobs(group, choice) for group in _groups(paths, choice, plan)]
    jobs = [job for of_group in by_group for job in of_group]
    _refuse_doubles(jobs)
    plan.of_all_shards = len(jobs)
    shard = choice.shard or Shard(1, 1)
    if choice.one_actor:  # a session's takes stay together: they wait for the same actor
        plan.jobs = [job for of_group in shard.of(by_group) for job in of_group]
    else:
        plan.jobs = shard.of(jobs)
    return plan


def _whole(path: Path) -> Path:
    """Links are followed only where the path goes up again, which means what the link leads to."""
    return path.resolve() if ".." in path.parts else path.absolute()


def _with_whole_paths(choice: Choice) -> Choice:
    given = {"calibration": choice.calibration, "output": choice.output, "actor": choice.actor}
    return replace(choice, **{name: _whole(path) for name, path in given.items() if path is not None})


def _groups(paths: Sequence[Path], choice: Choice, plan: Plan) -> list[Group]:
    sessions: dict[Path, set[Path] | None] = {}  # None: all its takes
    bare: list[Path] = []
    for path in paths:
        if (path / "take.json").is_file() or (path / "streams.mcap").is_file():
            session = _session_of(path)
            if session is None:
                bare.append(path)
            elif (chosen := sessions.setdefault(session, set())) is not None:
                chosen.add(path.resolve())
        else:
            sessions |= dict.fromkeys(_sessions(path, plan))
    groups = [_group(session, chosen, choice, plan=plan) for session, chosen in sessions.items()]
    groups.append(_bare_group(bare, choice, plan=plan))
    return sorted((group for group in groups if group is not None), key=lambda group: group.name)


def _sessions(path: Path, plan: Plan) -> list[Path]:
    """The sessions that a path means: itself, or those of a lab."""
    if not path.is_dir():
        raise InputError(f"{path} does not exist", hint="give labs, sessions or takes")
    root = open_lab(path).sessions if (path / LAB_FILE).is_file() else path
    found, closed = find_sessions(root) if root.is_dir() else ([], [])
    plan.left_out += [LeftOut(text, "cannot be looked into", fault=True) for text in closed]
    if not found and root == path:
        raise InputError(f"{path} is no lab, no session and no take", hint="give a folder that is one of them")
    return found


def _session_of(take: Path) -> Path | None:
    """The session in whose `takes` a take lies."""
    folder = take.parent
    is_session = any((folder.parent / name).is_file() for name in (RECORD, COPY))
    return folder.parent if folder.name == "takes" and is_session else None


def _group(session: Path, chosen: set[Path] | None, choice: Choice, *, plan: Plan) -> Group | None:
    lab = find_lab(session)
    name = _name(session, lab)
    try:
        unused = _unused(session)
    except Mmface4dError as error:
        plan.left_out.append(LeftOut(name, f"the session cannot be read: {error.message}", fault=True))
        return None
    calibration = choice.calibration or _nearest_calibration(session, lab)
    takes = sorted(path for path in (session / "takes").glob("[!.]*") if path.is_dir())
    usable = _usable(takes, name, unused=unused, calibration=calibration, plan=plan, chosen=chosen)
    if not usable or calibration is None:
        return None
    wanted = tuple(take for take in usable if chosen is None or take.resolve() in chosen)
    home = session if choice.output is None else choice.output / name
    hidden = str(session if lab is None else lab.path)
    # the actor must not change with what is asked for; only where nothing was kept is it of what was named
    takes = tuple(take for take in usable if take.name not in unused) or usable
    return Group(name, home, calibration, takes, wanted, hidden)


def _usable(
    takes: Iterable[Path], name: str, *, unused: dict[str, str], calibration: Path | None, plan: Plan,
    chosen: set[Path] | None = None,
) -> tuple[Path, ...]:  # fmt: skip
    """The takes that can be reconstructed; the plan says why the others cannot, of those that were asked for."""
    usable = []
    for take in takes:
        named = chosen is not None and take.resolve() in chosen
        reason = _why_not(take, None if named else unused.get(take.name), calibration)
        if reason is None:
            usable.append(take)
        elif chosen is None or named:
            plan.left_out.append(LeftOut(f"{name}/{take.name}", reason, fault=named))
    return tuple(usable)


def _why_not(take: Path, unused: str | None, calibration: Path | None) -> str | None:
    if is_withdrawn(take):
        return "withdrawn"
    if not (take / "take.json").is_file():
        return "unfinished; see mmface4d take recover"
    if unused is not None:
        return unused
    return None if calibration is not None else "no calibration.json in the session or its lab"


def _unused(session: Path) -> dict[str, str]:
    """Takes that the session's log says are not to be used, and why; a take of which it says nothing is used."""
    found = {}
    for state in open_session(session).states.values():
        for take in state.takes:
            if state.item.practice:
                found[take] = "practice"
            elif state.kept_take != take or state.status != "kept":
                found[take] = "not kept by the operator"
    return found


def _name(session: Path, lab: Lab | None) -> str:
    """How a session is called: its path in the lab's folder of sessions, or its own name."""
    for root in () if lab is None else (lab.sessions, lab.path):
        if session.is_relative_to(root) and session != root:
            return session.relative_to(root).as_posix()
    return session.name


def _nearest_calibration(session: Path, lab: Lab | None) -> Path | None:
    """The session's own, or the next one above it within the lab."""
    folders = [session]
    if lab is not None:
        above = session
        while above not in (lab.path, above.parent):
            above = above.parent
            folders.append(above)
    return next((folder / CALIBRATION for folder in folders if (folder / CALIBRATION).is_file()), None)


def _bare_group(takes: list[Path], choice: Choice, *, plan: Plan) -> Group | None:
    """Takes outside any session; where they go and how they are calibrated must be said."""
    if not takes:
        return None
    if choice.calibration is None or choice.output is None:
        missing = "--calibration" if choice.calibration is None else "-o"
        raise UsageError(f"{takes[0]} lies in no session", hint=f"give {missing}")
    usable = _usable(takes, "takes", unused={}, calibration=choice.calibration, plan=plan)
    hidden = os.path.commonpath([take.parent for take in takes])
    return Group("takes", choice.output, choice.calibration, usable, usable, hidden, flat=True) if usable else None


def _jobs(group: Group, choice: Choice) -> list[Job]:
    """Landmarks and the actor where one is wanted, then the sequences."""
    base = Job(
        name="", what="sequence", takes=(), calibration=group.calibration, output=group.home, model=choice.model,
        settings=choice.settings, actor=choice.actor, group=group.name, hidden=group.hidden,
    )  # fmt: skip
    sequences = [
        replace(base, name=f"{group.name}/{take.name}", takes=(take,), output=group.sequence(take).output)
        for take in group.wanted
    ]
    if not choice.one_actor:
        return sequences
    landmarks = [
        replace(base, name=f"{group.name}/{take.name}, landmarks", what="landmarks", takes=(take,),
                output=group.sequence(take).output)
        for take in group.takes
    ]  # fmt: skip
    actor = replace(
        base, name=f"{group.name}, actor", what="actor", takes=group.takes, output=actor_place(group.home).output,
        after=tuple(job.name for job in landmarks),
    )  # fmt: skip
    return [*landmarks, actor, *(replace(job, actor=actor.output, after=(actor.name,)) for job in sequences)]


def _refuse_doubles(jobs: Iterable[Job]) -> None:
    seen: dict[tuple[str, str], str] = {}
    for job in jobs:
        key = (job.what, str(job.output).casefold())
        if key in seen:
            raise UsageError(
                f"{seen[key]} and {job.name} would both go to {job.output}", hint="reconstruct them one by one"
            )
        seen[key] = job.name
