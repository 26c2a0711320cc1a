"""What the pages are told: plain values made of the director, the recorder and the session."""

import time
from typing import Any

from capture.recorder.director import Director, Look, Phase
from capture.recorder.recorder import Recorder
from mmface4d.session import Session

LIGHTS: dict[Phase, str] = {"countdown": "yellow", "recording": "green"}
STALE_S = 1.5  # a camera that has not delivered for so long is shown as lost


def operator_state(director: Director, recorder: Recorder, session: Session) -> dict[str, Any]:
    """Everything the operator's page shows; `heard` is the last take that can be heard of this sentence."""
    look = director.look()
    takes = session.states[look.item.id].takes if look.item else []
    waiting, waiting_bytes = recorder.tape.waiting
    return {
        "phase": look.phase,
        "since_s": round(time.monotonic() - look.phase_since, 2),
        "item": look.item.model_dump(mode="json") if look.item else None,
        "number": look.number, "total": look.total, "done": look.done, "retakes": look.retakes,
        "eta_s": None if look.eta_s is None else round(look.eta_s),
        "take": look.take, "heard": takes[-1] if takes else None,
        "passed": look.passed, "reasons": look.reasons, "message": look.message,
        "notes": look.notes, "subject": session.record.subject,
        "countdown_s": director.settings.countdown_s,
        "auto": director.settings.auto,
        "level_dbfs": round(recorder.level_dbfs(), 1),
        "peak": round(recorder.peak(), 4),
        "waiting": waiting, "waiting_mb": round(waiting_bytes / 1e6, 1),
        "cameras": cameras(recorder),
    }  # fmt: skip


def cameras(recorder: Recorder) -> list[dict[str, Any]]:
    """Every camera, and whether it delivers."""
    now_nsec = time.monotonic_ns()
    out = []
    for camera in recorder.cameras:
        last = recorder.latest.get(camera.serial)
        age_s = None if last is None else (now_nsec - last.host_nsec) / 1e9
        alive = age_s is not None and age_s < STALE_S
        place = camera.settings.get("position", "")
        out.append({"serial": camera.serial, "role": camera.role, "position": place, "alive": alive})
    return out


def actor_state(director: Director) -> dict[str, Any]:
    """The sentence and the light; nothing else concerns the actor."""
    look = director.look()
    return {
        "light": LIGHTS.get(look.phase, "red"),
        "text": look.item.text if look.item else "",
        "language": look.item.language if look.item else "en",
        "emotion": look.item.emotion if look.item else "neutral",
        "finished": look.phase == "finished",
        "countdown_s": _countdown_s(director, look),
    }


def _countdown_s(director: Director, look: Look) -> float | None:
    if look.phase != "countdown":
        return None
    return round(max(director.settings.countdown_s - (time.monotonic() - look.phase_since), 0.0), 1)


def script(session: Session) -> list[dict[str, Any]]:
    """The sentences and what became of them."""
    return [
        {
            "number": state.number, "id": state.item.id, "text": state.item.text, "emotion": state.item.emotion,
            "status": state.status, "takes": len(state.takes), "reasons": state.reasons, "notes": state.notes,
        }
        for state in list(session.states.values())
    ]  # fmt: skip
