"""How far a session has come, and how long the rest will take at the pace so far."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import pairwise

from corpus.duration import recording_time_s
from mmface4d.session import Event, Session, read_log

BREAK_S = 600.0  # longer than any sentence takes
PACE_OF = 20  # sentences, the last ones
ENDS = ("kept", "skipped")


def time_left_s(session: Session) -> tuple[float, bool]:
    """Seconds until every sentence is said, without breaks, and whether they come from the pace so far.

    The pace is the mean time from sentence to sentence over the last ones. Before there is any, lengths are estimated.
    """
    left = [state.item for state in session.states.values() if state.status not in ENDS]
    steps_s = list(seconds_a_sentence(read_log(session.path / "log.jsonl")))[-PACE_OF:]
    if not steps_s:
        return recording_time_s(left), False
    return len(left) * sum(steps_s) / len(steps_s), True


def seconds_a_sentence(events: Iterable[Event]) -> Iterator[float]:
    """From the end of a sentence to the end of the next one, breaks left out."""
    ends = [at for event in events if event.what in ENDS and (at := _instant(event)) is not None]
    for before, after in pairwise(ends):
        seconds = (after - before).total_seconds()
        if 0 < seconds < BREAK_S:
            yield seconds


def _instant(event: Event) -> datetime | None:
    try:
        at = datetime.fromisoformat(event.at)
    except ValueError:
        return None
    return at if at.tzinfo else None
