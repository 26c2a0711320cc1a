"""What a batch is going to do: which takes, with what calibration, to where, and what is done already."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calibration.landmarks import _stream_key
from capture.pack import pack_take
from mmface4d.errors import (
    FaceNotFoundError,
    InputError,
    SomeItemsFailedError,
    TakeError,
    UsageError,
)
from mmface4d.files import write_json
from mmface4d.locks import locked
from mmface4d.results import Failure, read_record, read_run
from mmface4d.session import ScriptItem, create_session, open_session
from mmface4d.take import open_take
from reconstruct.batch_commands import BatchOptions, reconstruct_batch
from reconstruct.batches import work
from reconstruct.batches.estimate import estimate, estimate_text, measured_pace
from reconstruct.batches.failures import failure_of
from reconstruct.batches.jobs import Job
from reconstruct.batches.plan import Choice, Plan, make_plan
from reconstruct.batches.record import hashes_of, record_failed, state_of
from reconstruct.batches.run import Means, dry_run, run_batch
from reconstruct.batches.sharding import Shard, parse_shard
from reconstruct.batches.standing import standing
from reconstruct.batches.status import status_of
from reconstruct.result_key import result_key
from reconstruct.settings import ReconstructSettings
from tests.capture import small_take
from tests.reconstruct.scene import bumpy_model, rig

FRAMES = 4


def write_take(path: Path, *, first_usec: int = 0) -> Path:
    """As much of a take as a plan looks at."""
    write_json(path / "take.json", {
        "fps": 30.0, "master": "front", "cameras": {},
        "frames": {"timestamps_usec": [first_usec + 33_333 * frame for frame in range(FRAMES)]},
    })  # fmt: skip
    return path


def write_session(path: Path, *, takes: int = 2, calibrated: bool = True) -> Path:
    script = [ScriptItem(id=f"{number:04d}", text="Hello.") for number in range(takes)]
    session = create_session(path, subject=path.name, script=script, virtual=True)
    for item in script:
        write_take(session.new_take(item.id), first_usec=int(item.id))
    if calibrated:
        rig().save(path / "calibration.json")
    return path


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "lab.toml").write_text("format = 1\n")
    for name in ("P01", "P02"):
        write_session(tmp_path / "lab" / "sessions" / name)
    return tmp_path / "lab"


def names(plan: Plan) -> list[str]:
    return [job.name for job in plan.jobs]


def reasons(plan: Plan) -> dict[str, str]:
    return {left.item: left.reason for left in plan.left_out}


def pretend(job: Job, content: bytes = b"mesh") -> None:
    """What reconstructing would leave."""
    job.output.parent.mkdir(parents=True, exist_ok=True)
    job.output.write_bytes(content)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the jobs that were really done, instead of doing them."""
    done: list[str] = []

    def make(job: Job) -> None:
        done.append(job.name)
        if (job.takes[0] / "bad").exists():
            raise FaceNotFoundError(f"{job.takes[0]} shows nobody", hint="look at it")
        pretend(job)

    for name in ("_reconstruct", "_solve_actor", "_find_landmarks"):
        monkeypatch.setattr(work, name, make)
    return done


def do_all(plan: Plan) -> list[Failure]:
    outcomes = [work.do(job) for job in plan.jobs]
    return [outcome.failure for outcome in outcomes if outcome.failure is not None]


def test_a_lab_is_the_takes_of_its_sessions(lab: Path) -> None:
    plan = make_plan([lab], Choice())
    assert names(plan) == [f"P0{s}/00{t}-000{t - 1}-v1" for s in (1, 2) for t in (1, 2)]
    assert plan.jobs[0].output == lab / "sessions/P01/sequences/001-0000-v1.npz"
    assert plan.jobs[0].calibration == lab / "sessions/P01/calibration.json"
    assert names(make_plan([lab / "sessions" / "P02"], Choice())) == names(plan)[2:]
    assert names(make_plan([plan.jobs[3].takes[0]], Choice())) == names(plan)[3:]
    elsewhere = make_plan([lab], Choice(output=lab / "out"))
    assert elsewhere.jobs[0].output == lab / "out/P01/sequences/001-0000-v1.npz"


def test_the_calibration_is_the_sessions_or_the_next_above(lab: Path) -> None:
    own = lab / "sessions/P01/calibration.json"
    own.rename(lab / "calibration.json")
    plan = make_plan([lab], Choice())
    assert {job.group: job.calibration for job in plan.jobs} == {
        "P01": lab / "calibration.json", "P02": lab / "sessions/P02/calibration.json",
    }  # fmt: skip
    (lab / "calibration.json").rename(lab.parent / "calibration.json")  # outside the lab
    plan = make_plan([lab], Choice())
    assert {job.group for job in plan.jobs} == {"P02"}
    assert set(reasons(plan).values()) == {"no calibration.json in the session or its lab"}


def test_what_is_not_to_be_used_is_left_out_with_its_reason(lab: Path) -> None:
    script = [ScriptItem(id=f"{n:04d}", text="Hello.", practice=n == 0) for n in range(4)]
    session = create_session(lab / "sessions/P03", subject="P03", script=script, virtual=True)
    rig().save(session.path / "calibration.json")
    for number, events in enumerate((["kept"], ["retake", "kept"], ["retake"], [])):
        for event in events or ["nothing"]:
            take = write_take(session.new_take(f"{number:04d}"))
            session.append("recorded", f"{number:04d}", take=take.name)
            session.append(event, f"{number:04d}", take=take.name)
    (session.takes / "004-0003-v1" / "take.json").unlink()
    write_take(session.takes / "brought").joinpath("withdrawn.json").write_text("{}")
    write_take(session.takes / "imported")
    plan = make_plan([session.path], Choice())
    assert names(plan) == ["P03/002-0001-v2", "P03/imported"]
    assert reasons(plan) == {
        "P03/001-0000-v1": "practice", "P03/002-0001-v1": "not kept by the operator",
        "P03/003-0002-v1": "not kept by the operator", "P03/004-0003-v1": "unfinished; see mmface4d take recover",
        "P03/brought": "withdrawn",
    }  # fmt: skip
    # who names a take means it, unless its person has withdrawn
    asked = [session.takes / name for name in ("002-0001-v1", "brought")]
    plan = make_plan(asked, Choice())
    assert names(plan) == ["P03/002-0001-v1"]
    assert plan.left_out == [("P03/brought", "withdrawn", True)]


def test_a_damaged_session_does_not_stop_the_others(lab: Path) -> None:
    (lab / "sessions/P01/script.jsonl").write_text("{\n")
    plan = make_plan([lab], Choice())
    assert {job.group for job in plan.jobs} == {"P02"}
    assert plan.left_out[0].fault
    assert "line 1" in plan.left_out[0].reason


def test_paths_that_are_nothing_are_refused(lab: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path, said in ((tmp_path / "empty", "no lab, no session and no take"), (tmp_path / "no", "does not exist")):
        with pytest.raises(InputError, match=said):
            make_plan([path], Choice())
    take = write_take(tmp_path / "alone")
    with pytest.raises(UsageError, match="lies in no session"):
        make_plan([take], Choice())
    plan = make_plan([take], Choice(calibration=lab / "x.json", output=tmp_path / "out"))
    assert plan.jobs[0].output == tmp_path / "out" / "alone.npz"
    twice = [take, write_take(tmp_path / "other" / "alone")]
    with pytest.raises(UsageError, match="would both go to"):
        make_plan(twice, Choice(calibration=lab / "x.json", output=tmp_path / "out"))


def test_a_plan_is_the_same_from_wherever_its_lab_is_named(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = write_session(lab / "sessions/2026/P03", takes=1)
    output, whole = lab.parent / "out", make_plan([lab], Choice(output=lab.parent / "out"))
    take = "001-0000-v1"
    assert "2026/P03/001-0000-v1" in names(whole)
    for folder, paths in (
        (lab, ["."]), (lab / "sessions", [".."]), (lab.parent, ["lab"]), (deep, ["../../..", "../../P01"]),
    ):  # fmt: skip
        monkeypatch.chdir(folder)
        out = Path(os.path.relpath(output, folder))
        assert make_plan([Path(path) for path in paths], Choice(output=out)).jobs == whole.jobs
    for folder, path in ((deep, f"takes/{take}"), (deep / "takes", take), (deep / "takes" / take, ".")):
        monkeypatch.chdir(folder)
        assert make_plan([Path(path)], Choice(output=output)).jobs == [
            whole.jobs[names(whole).index(f"2026/P03/{take}")]
        ]


def test_records_of_takes_outside_any_session_name_no_folder_of_this_machine(tmp_path: Path, lab: Path) -> None:
    takes = [write_take(tmp_path / "here" / "a"), write_take(tmp_path / "there" / "b")]
    plan = make_plan(takes, Choice(calibration=lab / "sessions/P01/calibration.json", output=tmp_path / "out"))
    assert [failure_of(OSError(5, "lost", str(job.takes[0])), hidden=job.hidden).message for job in plan.jobs] == [
        "[Errno 5] lost: 'here/a'", "[Errno 5] lost: 'there/b'",
    ]  # fmt: skip
    assert failure_of(TakeError("/a/b is lost"), hidden="/").message == "/a/b is lost"


def test_an_actor_is_of_the_whole_session_whichever_takes_are_asked_for(lab: Path) -> None:
    plan = make_plan([lab / "sessions/P01/takes/001-0000-v1"], Choice(one_actor=True))
    what = [(job.what, len(job.takes)) for job in plan.jobs]
    assert what == [("landmarks", 1), ("landmarks", 1), ("actor", 2), ("sequence", 1)]
    actor, sequence = plan.jobs[2:]
    assert sequence.after == (actor.name,)
    assert sequence.actor == actor.output == lab / "sessions/P01/actor/actor.npz"


def test_a_take_that_was_not_kept_does_not_change_the_actor(lab: Path) -> None:
    session = open_session(lab / "sessions/P01")
    for name, event in (("001-0000-v1", "kept"), ("002-0001-v1", "retake")):
        session.append("recorded", name[4:8], take=name)
        session.append(event, name[4:8], take=name)

    def actor(*paths: Path) -> Job:
        return next(job for job in make_plan(paths, Choice(one_actor=True)).jobs if job.what == "actor")

    kept, other = (session.takes / name for name in ("001-0000-v1", "002-0001-v1"))
    assert actor(other) == actor(session.path) == actor(kept, other)
    assert names(make_plan([other], Choice(one_actor=True)))[-1] == "P01/002-0001-v1"
    (kept / "take.json").unlink()
    assert actor(other).takes == (other,)


@pytest.mark.parametrize("one_actor", [False, True])
def test_shards_have_everything_once(lab: Path, one_actor: bool) -> None:
    write_session(lab / "sessions/P03", takes=3)
    whole = names(make_plan([lab], Choice(one_actor=one_actor)))
    for count in (1, 2, 3, 5, 9):
        parts = [
            names(make_plan([lab], Choice(one_actor=one_actor, shard=Shard(index, count))))
            for index in range(1, count + 1)
        ]
        assert sorted(name for part in parts for name in part) == sorted(whole)
    assert parse_shard("3/8") == Shard(3, 8)
    empty = make_plan([lab], Choice(one_actor=one_actor, shard=Shard(9, 9)))
    assert run_batch(empty, Means())["sequences"] == 0  # no mistake of whoever asked for so many
    for text in ("0/8", "9/8", "8", "a/b", "-1/8", "1/0"):
        with pytest.raises(UsageError, match="is no shard"):
            parse_shard(text)


def test_done_means_that_the_hashes_are_those_of_now(lab: Path, fake: list[str]) -> None:
    plan = make_plan([lab], Choice())
    assert not do_all(plan)
    assert len(standing(plan.jobs).done) == 4
    assert [work.do(job).already for job in plan.jobs] == [True] * 4
    assert len(fake) == 4  # nothing twice
    one, two, three, four = plan.jobs
    record = json.loads((one.takes[0] / "take.json").read_text())
    for touched in ({"notes": ["loud"]}, {"fps": 15.0}):  # the first changes no mesh
        write_json(one.takes[0] / "take.json", record | touched)
    two.output.write_bytes(b"longer than it was")
    calibration = rig()
    calibration.world_from_camera["left"][0, 3] += 1e-6
    calibration.save(three.calibration)
    assert [job.name for job in standing(plan.jobs).todo] == [job.name for job in (one, two, three, four)]
    write_json(one.takes[0] / "take.json", record | {"notes": ["loud"]})
    rig().save(three.calibration)
    assert [job.name for job in standing(plan.jobs).todo] == [two.name]
    others = [Choice(settings=ReconstructSettings(smooth=False)), Choice(settings=ReconstructSettings(keyframes=3))]
    for choice in others:
        assert len(standing(make_plan([lab], choice).jobs).todo) == 4


@pytest.fixture
def real_take(lab: Path) -> Path:
    """A take with pictures, in a session of its own."""
    create_session(lab / "sessions/P03", subject="P03", script=[ScriptItem(id="0000", text="Hello.")], virtual=True)
    rig().save(lab / "sessions/P03/calibration.json")
    return small_take.write_take(lab / "sessions/P03/takes/brought", frames=4, depth=sloping())


def sloping() -> np.ndarray:
    """Depth that packing makes smaller."""
    return (700 + np.add.outer(np.arange(small_take.HEIGHT), np.arange(small_take.WIDTH))).astype(np.uint16)


def inputs_of(job: Job) -> list[Any]:
    """All by which this take's results, begun results and landmarks are told from those of other inputs."""
    with open_take(job.takes[0]) as take:
        key = result_key(take, rig(), bumpy_model(), settings=ReconstructSettings())
        return [hashes_of(job), key, _stream_key(take, "1")]


def test_packing_makes_nothing_outdated(lab: Path, real_take: Path, fake: list[str]) -> None:
    plan = make_plan([lab / "sessions/P03"], Choice(one_actor=True))
    assert not do_all(plan)
    before, (job,) = [inputs_of(job) for job in plan.jobs], plan.sequences
    record = job.place.record.read_bytes()
    assert pack_take(real_take).packed
    assert [inputs_of(job) for job in plan.jobs] == before
    assert not standing(plan.jobs).todo
    assert status_of(make_plan([lab / "sessions/P03"], Choice()))["states"]["done"] == 1
    job.output.unlink()
    assert not do_all(plan)
    assert job.place.record.read_bytes() == record


def test_a_take_that_is_packed_while_it_is_reconstructed_is_done(
    lab: Path, real_take: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bytes] = []

    def reconstruct(job: Job) -> None:
        with open_take(job.takes[0]) as take:
            for frame in range(len(take)):
                depths = [take.depth_mm(frame, serial) for serial in take.cameras]
                seen.extend(b"" if depth is None else depth.tobytes() for depth in depths)
                assert pack_take(real_take).packed == (frame == 0)
        pretend(job)

    monkeypatch.setattr(work, "_reconstruct", reconstruct)
    plan = make_plan([lab / "sessions/P03"], Choice())
    assert not do_all(plan)
    assert not standing(plan.jobs).todo
    assert seen == [sloping().tobytes()] * 4 * len(small_take.DELAYS)


def test_another_program_makes_everything_anew(lab: Path, fake: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan([lab], Choice())
    do_all(plan)
    monkeypatch.setattr("reconstruct.result_key.RESULT_VERSION", 99)
    assert len(standing(plan.jobs).todo) == 4


def test_a_lab_that_moves_is_still_done(lab: Path, fake: list[str]) -> None:
    do_all(make_plan([lab], Choice()))
    moved = lab.rename(lab.parent / "moved")
    assert len(standing(make_plan([moved], Choice()).jobs).done) == 4


def test_another_actor_makes_the_sequences_anew(lab: Path, fake: list[str]) -> None:
    plan = make_plan([lab], Choice(one_actor=True))
    assert not do_all(plan)
    assert not standing(plan.jobs).todo
    write_take(lab / "sessions/P01/takes/new")
    plan = make_plan([lab], Choice(one_actor=True))
    assert {job.group for job in standing(plan.jobs).todo} == {"P01"}
    assert [job.what for job in standing(plan.jobs).todo] == ["landmarks"] * 3 + ["actor"] + ["sequence"] * 3
    for job in plan.jobs:
        work.do(job)
    actor = next(job for job in plan.jobs if job.what == "actor")
    pretend(actor, b"face")  # as long as before; its record is of other bytes
    assert len(standing(plan.jobs).todo) == 3


def test_what_failed_for_good_is_not_tried_again_unless_asked_for(lab: Path, fake: list[str]) -> None:
    plan = make_plan([lab], Choice())
    (plan.jobs[1].takes[0] / "bad").touch()
    (failure,) = do_all(plan)
    assert (failure.kind, failure.reason, failure.hint) == ("permanent", "no face", "look at it")
    record = read_record(plan.jobs[1].place.record)
    assert record is not None
    assert record.failure is not None
    assert record.failure.message == "sessions/P01/takes/002-0001-v1 shows nobody"  # no path of this machine
    assert [job.name for job, _ in standing(plan.jobs).failed] == [plan.jobs[1].name]
    assert not standing(plan.jobs).todo
    assert [job.name for job in standing(plan.jobs, redo_failed=True).todo] == [plan.jobs[1].name]
    record_failed(plan.jobs[1], hashes_of(plan.jobs[1]), failure_of(OSError(5, "Input/output error")))
    assert [job.name for job in standing(plan.jobs).todo] == [plan.jobs[1].name]


def test_an_actor_that_failed_is_told_but_not_counted(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = make_plan([lab / "sessions/P01"], Choice(one_actor=True))
    (actor,) = [job for job in plan.jobs if job.what == "actor"]
    record_failed(actor, hashes_of(actor), failure_of(FaceNotFoundError("nobody")))
    with pytest.raises(SomeItemsFailedError, match=r"^2 of 2 failed"):
        reconstruct_batch([lab / "sessions/P01"], Choice(one_actor=True), BatchOptions(), as_json=False)
    said = capsys.readouterr().out
    assert said.startswith("0 sequences done; 0 were done before; 2 failed\n")
    assert "  P01, actor: nobody" in said


def test_mistakes_in_what_is_given_for_all_are_told_once(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = lab / "missing"
    for choice in (Choice(calibration=missing), Choice(actor=missing), Choice(model="missing")):
        with pytest.raises(InputError, match="missing"):
            reconstruct_batch([lab], choice, BatchOptions(), as_json=False)
    monkeypatch.setenv("MMFACE4D_LANDMARKER", str(missing))
    with pytest.raises(InputError, match="missing does not exist"):
        reconstruct_batch([lab], Choice(), BatchOptions(), as_json=False)
    with pytest.raises(UsageError, match="of this machine alone"):
        reconstruct_batch([lab], Choice(), BatchOptions(engine="ray", workers=2), as_json=False)
    assert not list(lab.glob("sessions/*/sequences"))


def test_sequences_fail_with_their_actor(lab: Path, fake: list[str]) -> None:
    plan = make_plan([lab], Choice(one_actor=True))
    actor = next(job for job in plan.jobs if job.what == "actor")
    (actor.takes[0] / "bad").touch()
    work.do(actor)
    now = standing(plan.jobs)
    assert [(job.name, failure.reason) for job, failure in now.failed][:2] == [
        ("P01, actor", "no face"), ("P01/001-0000-v1", "what it needs has failed"),
    ]  # fmt: skip
    assert {job.group for job in now.todo} == {"P02"}
    assert {job.group for job in standing(plan.jobs, redo_failed=True).todo} == {"P01", "P02"}


def test_damaged_records_and_takes_count_as_not_done(lab: Path, fake: list[str]) -> None:
    plan = make_plan([lab], Choice())
    do_all(plan)
    plan.jobs[0].place.record.write_text('{"format": 9}')
    (plan.jobs[1].takes[0] / "take.json").write_text("{")
    assert [job.name for job in standing(plan.jobs).todo] == names(plan)[:2]
    assert work.do(plan.jobs[0]).failure is None
    failure = work.do(plan.jobs[1]).failure
    assert failure is not None
    assert failure.reason == "unusable input"


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"frames": []}', '{"frames": {"timestamps_usec": 7}}'])
def test_a_damaged_take_is_called_so_and_stops_no_estimate(lab: Path, content: str) -> None:
    plan = make_plan([lab], Choice())
    (plan.jobs[1].takes[0] / "take.json").write_text(content)
    assert dry_run(plan, Means())["estimate"]["frames"] == 3 * FRAMES
    failure = work.do(plan.jobs[1]).failure
    assert failure is not None
    assert failure.reason in ("damaged take", "unusable input")


def test_records_are_the_same_bytes_however_often_a_job_was_begun(lab: Path, fake: list[str]) -> None:
    job = make_plan([lab], Choice()).jobs[0]
    work.do(job)
    first, run = job.place.record.read_bytes(), read_run(job.place.run)
    job.output.unlink()
    work.do(job)
    again = read_run(job.place.run)
    assert job.place.record.read_bytes() == first
    assert (run.attempts, again.attempts) == (1, 2)
    assert again.frames == FRAMES
    assert state_of(job, hashes_of(job)) == "done"
    assert not job.place.lock.exists()


def test_what_a_killed_worker_was_just_writing_is_cleared(lab: Path, fake: list[str]) -> None:
    job = next(job for job in make_plan([lab], Choice(one_actor=True)).jobs if job.what == "actor")
    place = job.place
    left = [
        path.with_name(f".{path.stem}.0123abcd.partial{path.suffix}") for path in (place.record, place.run, job.output)
    ]
    others = place.record.with_name(".actor.v2.0123abcd.partial.json")  # of another item
    for path in (*left, others):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{")
    assert work.do(job).failure is None
    assert [path.exists() for path in (*left, others)] == [False, False, False, True]


def test_status_counts_by_session(lab: Path, fake: list[str]) -> None:
    plan = make_plan([lab], Choice())
    (plan.jobs[1].takes[0] / "bad").touch()
    for job in plan.jobs[:3]:
        work.do(job)
    calibration = rig()
    calibration.world_from_camera["left"][0, 3] += 1e-6
    calibration.save(plan.jobs[2].calibration)
    found = status_of(plan)
    assert found["sessions"] == {
        "P01": {"done": 1, "outdated": 0, "failed": 1, "not begun": 0},
        "P02": {"done": 0, "outdated": 1, "failed": 0, "not begun": 1},
    }
    assert [item["reason"] for item in found["failed"]] == ["no face"]


def test_status_tells_of_an_actor_that_failed(lab: Path, fake: list[str]) -> None:
    plan = make_plan([lab], Choice(one_actor=True))
    (plan.jobs[0].takes[0] / "bad").touch()
    for job in plan.jobs:
        if job.what == "actor" or (job.what == "sequence" and job.group == "P02"):
            work.do(job)
    found = status_of(make_plan([lab], Choice()))
    assert [(item["item"], item["reason"]) for item in found["failed"]] == [("P01, actor", "no face")]
    assert found["states"] == {"done": 2, "outdated": 0, "failed": 0, "not begun": 2}


def test_the_estimate_is_of_the_measured_pace(lab: Path, fake: list[str]) -> None:
    plan = make_plan([lab], Choice())
    unknown = estimate(plan.jobs, measured_pace(plan.jobs), workers=2, device="cpu")
    assert unknown["frames"] == 4 * FRAMES
    assert "hours" not in unknown
    assert "how long is known when" in estimate_text(unknown)
    work.do(plan.jobs[0])
    run = read_run(plan.jobs[0].place.run)
    measured = {"seconds": 36.0 * FRAMES, "cpu_seconds": 18.0 * FRAMES, "peak_bytes": 10**9}
    write_json(plan.jobs[0].place.run, run.model_copy(update=measured).model_dump())
    known = estimate(plan.jobs[1:], measured_pace(plan.jobs), workers=2, device="cpu")
    assert known["hours"] == pytest.approx(3 * FRAMES * 36 / 3600 / 2)
    assert known["core_hours"] == pytest.approx(3 * FRAMES * 18 / 3600)
    resumed = run.model_copy(update=measured | {"attempts": 2, "seconds": 1.0})
    write_json(plan.jobs[1].place.run, resumed.model_dump())  # what it spent before it was stopped is not known
    assert measured_pace(plan.jobs).runs == 1
    on_gpu = estimate(plan.jobs[1:], measured_pace(plan.jobs), workers=2, device="cuda")
    assert on_gpu["gpu_hours"] == pytest.approx(3 * FRAMES * 36 / 3600)


def test_a_batch_says_what_failed_and_ends_with_4(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = make_plan([lab], Choice())
    for job in plan.jobs:
        pretend(job)
        work.record_done(job, hashes_of(job))
    record_failed(plan.jobs[2], hashes_of(plan.jobs[2]), failure_of(FaceNotFoundError("nobody", hint="look")))
    with pytest.raises(SomeItemsFailedError, match="1 of 4 failed"):
        reconstruct_batch([lab], Choice(), BatchOptions(), as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "0 sequences done; 3 were done before; 1 failed",
        "permanent, no face: 1", "  P02/001-0000-v1: nobody", "  do: look",
    ]  # fmt: skip
    reconstruct_batch([lab], Choice(), BatchOptions(dry_run=True, redo="failed"), as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert [item["item"] for item in told["plan"]] == ["P02/001-0000-v1"]
    assert os.listdir(lab / "sessions/P02/sequences/records")  # noqa: PTH208


def test_what_another_process_is_at_is_left_to_it(lab: Path, fake: list[str]) -> None:
    job = make_plan([lab], Choice()).jobs[0]
    with locked(job.place.lock, what=job.name):
        failure = work.do(job).failure
    assert failure is not None
    assert (failure.kind, failure.reason) == ("transient", "busy")
    assert not fake
    assert not job.place.record.exists()
