"""kill -9 at random moments of a recording: what is lost, and whether everything goes on."""

import random
import time
from pathlib import Path
from typing import Any

from common import say
from fault_runs import (
    PRE_ROLL_S,
    Recording,
    Row,
    ending,
    goes_on,
    lost_at_end_s,
    new_session,
    recover_all,
    untouched,
    whole_takes,
)

from capture.check import check_take
from mmface4d.session import open_session

MOST_LOST_S = 1.0
RECORDING_S = 4.5  # what the shorter of the sentences lasts, from the green light to the silence after it
SENTENCES = (
    "We were away a year ago, and nobody knew where we had gone.",
    "It was late in the evening when she heard the bell again.",
)
MOMENTS = ("recording", "recording", "recording", "finishing", "idle")


def kills(work: Path, count: int, *, seed: int = 0) -> Row:
    """kill -9, again and again on the same sessions, at random moments."""
    row = Row("kill -9", f"{count} times, at random moments")
    chance = random.Random(seed)
    seen: list[dict[str, Any]] = []
    session, whole, number = Path(), {}, 0
    for index in range(count):
        if not number or open_session(session).next_item() is None:
            number += 1
            session, whole = new_session(work / f"kills-{number}", SENTENCES), {}
        one = kill_once(row, session, moment=MOMENTS[index % 5],
                        chance=chance)  # fmt: skip
        untouched(row, whole, session)
        whole = whole_takes(session)
        seen.append(one)
        say(one)
    if open_session(session).next_item() is not None:
        goes_on(row, session)
    losses = [one["lost_s"] for one in seen if one["lost_s"] is not None]
    row.happened = ", ".join(
        f"{sum(o['was'] == was for o in seen)} while {was}" for was in sorted({o["was"] for o in seen})
    )
    row.lost = {
        "most_s": max(losses, default=0.0),
        "median_s": sorted(losses)[len(losses) // 2] if losses else 0.0,
        "nothing left of takes that were younger than a second": sum(one["nothing"] for one in seen),
    }
    row.left = {"recovered": sum(bool(one["recovered"]) for one in seen), "sessions": number, "kills": seen}
    return row


def kill_once(row: Row, session: Path, *, moment: str, chance: random.Random) -> dict[str, Any]:
    """Records, kills, recovers, and compares what is left with what had arrived."""
    following = open_session(session).next_item()
    before = {path.name for path in (session / "takes").iterdir()}
    with ending(Recording(session)) as run:
        began_s = run.wait_for("recording")
        if began_s is None:
            row.wrong.append(f"the run after a kill did not record: {run.told[-2:]}")
            return {"was": "nothing", "lost_s": None, "recovered": {}, "nothing": False}
        row.expect(following is not None and f"-{following.id}-v" in run.text, "went on with another sentence")
        take = next(path for path in (session / "takes").iterdir() if path.name not in before)
        await_moment(run, take, moment, chance)
        killed_s = run.kill()
    was = phase(take)
    recovered = recover_all(session)
    one: dict[str, Any] = {"was": was, "after_s": round(killed_s - began_s, 2), "lost_s": None,
                           "recovered": recovered, "nothing": False}  # fmt: skip
    if was == "recording" or was == "finishing":
        judge_recovered(row, take, one, killed_s=killed_s, began_s=began_s)
    open_session(session)  # raises an error where the log cannot be read
    return one


def await_moment(run: Recording, take: Path, moment: str, chance: random.Random) -> None:
    """Waits for a random instant of the phase that is wanted."""
    if moment == "recording":
        time.sleep(chance.uniform(0.0, RECORDING_S))
    elif moment == "finishing":
        end_s = time.monotonic() + 30
        while time.monotonic() < end_s and not (list(take.glob(".audio*")) or (take / "audio.wav").exists()):
            time.sleep(0.001)
        time.sleep(chance.uniform(0.0, 0.06))
    else:
        run.wait_for(" good ", timeout_s=30)
        time.sleep(chance.uniform(0.0, 1.5))


def phase(take: Path) -> str:
    """What a killed run was about, from what it left."""
    if (take / "take.json").is_file():
        return "idle or judging"
    return "finishing" if (take / "audio.wav").is_file() or list(take.glob(".*")) else "recording"


def judge_recovered(row: Row, take: Path, one: dict[str, Any], *, killed_s: float, began_s: float) -> None:
    """At most a second is lost, and what is left is a good take."""
    if not (take / "take.json").is_file():
        one["nothing"], one["lost_s"] = True, round(killed_s - began_s + PRE_ROLL_S, 2)
    else:
        report = check_take(take)
        one["lost_s"] = round(lost_at_end_s(take, killed_s), 2)
        reasons = [f"{reason.about}: {reason.text}" for reason in report.reasons if reason.severity == "fail"]
        row.expect(report.good, f"{take.name}, recovered: {reasons}")
    if one["was"] == "recording":
        row.expect(one["lost_s"] <= MOST_LOST_S, f"{take.name}: {one['lost_s']} s lost")
