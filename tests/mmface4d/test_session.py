"""Session folders: old ones open, halves are told from wholes, and two makers do not meet."""

import json
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from mmface4d.errors import ConsentError, InputError
from mmface4d.permission import recording_permit
from mmface4d.session import ScriptItem, Sheet, create_session, open_session
from mmface4d.session_folders import find_sessions
from mmface4d.subject import Consent, Subject, read_subject
from tests.mmface4d.killing import killed_at, let_go_together

TODAY = date(2026, 11, 21)
CONSENT = Consent(version="2", date=date(2026, 11, 2), scopes=("mesh", "audio"))
P07 = Subject(pseudonym="P07", age=24, gender="female", language="zh", consent=CONSENT)
SCRIPT = [ScriptItem(id=f"00_000{n}", text="Good morning.") for n in range(1, 4)]


def test_a_session_keeps_consent_and_sheet(tmp_path: Path) -> None:
    sheet = Sheet(room="B12", microphone="Solo", microphone_cm=60, warm_up_min=45, notes="a cold")
    create_session(tmp_path / "s", subject="P07", script=SCRIPT, person=P07, sheet=sheet)
    record = open_session(tmp_path / "s").record
    assert (record.consent, record.sheet, record.virtual) == (CONSENT, sheet, False)
    assert read_subject(tmp_path / "s" / "subject.json") == P07


def test_sessions_of_the_first_format_open(tmp_path: Path) -> None:
    session = create_session(tmp_path / "s", subject="P.1", script=SCRIPT)
    (session.path / "session.copy.json").unlink()
    old = {"format": 1, "subject": "P.1", "created": "2026-01-01T10:00:00+00:00", "settings": {}}
    (session.path / "session.json").write_text(json.dumps(old))
    opened = open_session(session.path)
    assert (opened.record.subject, opened.record.consent) == ("P.1", None)
    with pytest.raises(ConsentError, match=r"nothing says that P\.1 consented"):
        recording_permit(opened, virtual=False, today=TODAY)
    assert recording_permit(opened, virtual=True, today=TODAY) == {"virtual": True}


def test_a_session_of_a_later_program_is_refused(tmp_path: Path) -> None:
    session = create_session(tmp_path / "s", subject="P07", script=SCRIPT)
    values = json.loads((session.path / "session.json").read_text())
    (session.path / "session.json").write_text(json.dumps(values | {"format": 3}))
    with pytest.raises(InputError, match=r"session\.json has format 3, this program reads 2"):
        open_session(session.path)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_a_session_file_cut_short_loses_nothing(tmp_path: Path, share: float) -> None:
    session = create_session(tmp_path / "s", subject="P07", script=SCRIPT, person=P07)
    session.append("kept", "00_0001", take="001-00_0001-v1")
    whole = (session.path / "session.json").read_bytes()
    (session.path / "session.json").write_bytes(whole[: int(share * (len(whole) - 2))])
    others = {path: path.read_bytes() for path in session.path.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=r"session\.json is not valid JSON") as caught:
        open_session(session.path)
    assert {path: path.read_bytes() for path in others} == others
    assert caught.value.hint is not None
    _, _, command = caught.value.hint.partition("place: ")
    subprocess.run(command.split(), check=True)  # as the hint says
    again = open_session(session.path)
    assert (again.record, again.done) == (session.record, 1)


def test_without_a_copy_the_hint_shows_what_to_write(tmp_path: Path) -> None:
    session = create_session(tmp_path / "s", subject="P07", script=SCRIPT, person=P07)
    for name in ("session.json", "session.copy.json"):
        (session.path / name).write_text('{"subject": ')
    with pytest.raises(InputError) as caught:
        open_session(session.path)
    assert caught.value.hint is not None
    shown = caught.value.hint.partition(": ")[2].partition(";")[0]
    (session.path / "session.json").write_text(shown)
    again = open_session(session.path)
    assert again.record.subject == "P07"
    assert recording_permit(again, virtual=False, today=TODAY)  # by the subject's own record


@pytest.mark.parametrize("after", [False, True])
def test_a_session_whose_making_was_killed_can_be_made_again(tmp_path: Path, after: bool) -> None:
    steps = 0
    while True:
        path = tmp_path / f"s{steps}"
        killed = killed_at(
            steps, lambda at=path: create_session(at, subject="P07", script=SCRIPT, person=P07), after=after
        )
        if not (path / "session.json").exists():
            if path.exists() and find_sessions(path)[0]:  # all but the last file is there
                with pytest.raises(InputError, match=r"session\.json does not exist"):
                    open_session(path)
            create_session(path, subject="P07", script=SCRIPT, person=P07)
        assert open_session(path).record.consent == CONSENT
        assert {each.name for each in path.glob("[!.]*")} == {
            "session.json", "session.copy.json", "subject.json", "script.jsonl", "takes",
        }  # fmt: skip
        if not killed:
            break
        steps += 1
    assert steps == 4


@pytest.mark.parametrize("left", ["log.jsonl", "notes.txt", "session.json", "takes/001-a-v1", "withdrawn.json"])
def test_folders_in_use_are_left_alone(tmp_path: Path, left: str) -> None:
    (tmp_path / "s" / left).parent.mkdir(parents=True)
    (tmp_path / "s" / left).write_text("something")
    with pytest.raises(InputError, match="is not empty"):
        create_session(tmp_path / "s", subject="P07", script=SCRIPT)
    assert [path.read_text() for path in (tmp_path / "s").rglob("*") if path.is_file()] == ["something"]


MAKE = """
import sys
from pathlib import Path
from mmface4d.errors import Mmface4dError
from mmface4d.session import ScriptItem, create_session
from mmface4d.subject import Subject
print("ready", flush=True)
sys.stdin.readline()
person = Subject(pseudonym="P07", age=24, gender=sys.argv[2], language="zh")
script = [ScriptItem(id=str(n), text=sys.argv[2]) for n in range(200)]
try:
    create_session(Path(sys.argv[1]), subject="P07", script=script, person=person)
except Mmface4dError as error:
    sys.exit(error.message)
"""


def makers(paths: list[Path]) -> list[str]:
    """A process for each folder, all at once, of different people; what each says, nothing where it succeeds."""
    genders = ["female", "male", "other", "unknown"]
    running = [
        subprocess.Popen(
            [sys.executable, "-c", MAKE, str(path), gender],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for path, gender in zip(paths, genders, strict=False)
    ]  # fmt: skip
    let_go_together(running)
    return [process.communicate(timeout=30)[1].strip() for process in running]


def test_of_two_processes_one_makes_the_session(tmp_path: Path) -> None:
    said = makers([tmp_path / "s"] * 4)
    assert sorted(map(bool, said)) == [False, True, True, True]
    assert all("is being written by" in text or "not empty" in text for text in said if text)
    made = open_session(tmp_path / "s")
    assert {item.text for item in made.script} == {["female", "male", "other", "unknown"][said.index("")]}
    assert read_subject(tmp_path / "s" / "subject.json").gender == made.script[0].text


def test_two_people_do_not_get_one_pseudonym(tmp_path: Path) -> None:
    (tmp_path / "lab.toml").touch()
    said = makers([tmp_path / "sessions" / name for name in "abcd"])
    assert sorted(map(bool, said)) == [False, True, True, True]
    assert all("is being written by" in text or "P07 is known already" in text for text in said if text)
    winner = ["female", "male", "other", "unknown"][said.index("")]
    assert read_subject(tmp_path / "subjects" / "P07.json").gender == winner
    assert len(find_sessions(tmp_path)[0]) == 1


def test_the_virtual_actor_and_people_do_not_mix(tmp_path: Path) -> None:
    actor = create_session(tmp_path / "try", subject="virtual", script=SCRIPT, virtual=True)
    somebody = create_session(tmp_path / "P07", subject="P07", script=SCRIPT, person=P07)
    assert recording_permit(actor, virtual=True, today=TODAY) == {"virtual": True}
    permit = recording_permit(somebody, virtual=False, today=TODAY)
    assert permit == {"consent": {"version": "2", "scopes": ["mesh", "audio"]}}
    with pytest.raises(ConsentError, match="session of the virtual actor"):
        recording_permit(actor, virtual=False, today=TODAY)
    with pytest.raises(ConsentError, match="session of a person, P07"):
        recording_permit(somebody, virtual=True, today=TODAY)
