"""Sessions from the command line: made from people's own files and with their consent, shown, and refused."""

import json
import os
import pty
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import pytest

from corpus.script_file import load_script
from corpus.session_progress import seconds_a_sentence, time_left_s
from mmface4d.errors import InputError
from mmface4d.session import Event, ScriptItem, create_session, open_session
from mmface4d.subject import read_subject
from tests.corpus.in_process import run_here

PERSON = {
    "--subject": "P07", "--age": "24", "--gender": "female", "--language": "zh", "--consent": "2",
    "--consent-date": "2026-01-02", "--scopes": "mesh,audio",
}  # fmt: skip


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "s.txt"
    path.write_text("﻿早上好。\n\n你好。\n", encoding="utf-8")
    return path


def options(**changed: str | None) -> list[str]:
    """All a person needs, as words; None leaves one out."""
    values = PERSON | {f"--{name.replace('_', '-')}": value for name, value in changed.items()}
    return [word for option, value in values.items() if value is not None for word in (option, value)]


def test_a_text_becomes_a_session(tmp_path: Path, text: Path) -> None:
    sheet = ("--sheet", "room=B 12", "--sheet", "microphone-cm=60", "--sheet", "warm-up-min=45")
    made = run_here("session", "new", tmp_path / "P07", *options(), "--script", text, *sheet)
    assert made.returncode == 0, made.stderr
    assert made.stdout == (
        "P07: 24, female, zh; consent 2 of 2026-01-02, without end: mesh, audio\n"
        f"{tmp_path}/P07: 2 sentences; record them with: mmface4d record {tmp_path}/P07\n"
    )
    session = open_session(tmp_path / "P07")
    assert [(item.text, item.language) for item in session.script] == [("早上好。", "zh"), ("你好。", "zh")]
    assert read_subject(tmp_path / "P07" / "subject.json").age == 24
    shown = json.loads(run_here("session", "show", tmp_path / "P07", "--json").stdout)
    assert shown["counts"] == {"pending": 2}
    assert shown["consent"]["scopes"] == ["mesh", "audio"]
    said = run_here("session", "show", tmp_path / "P07").stdout
    assert "2 pending" in said
    assert "sheet   B 12; 60 cm from the mouth; cameras on for 45 min" in said
    assert "0 of 2 done, about 1 min left by an estimate; next is 00_0001" in said


def test_all_that_is_missing_is_named_at_once(tmp_path: Path) -> None:
    made = run_here("session", "new", tmp_path / "P07")
    assert made.returncode == 2
    assert made.stderr.startswith(
        "error: missing: --subject, --age, --gender, --language, --consent, --consent-date, --scopes, --script\n"
    )
    assert not (tmp_path / "P07").exists()


def test_all_that_is_wrong_is_named_at_once(tmp_path: Path) -> None:
    tomorrow = str(date.today() + timedelta(1))
    wrong = options(subject="Jane_Doe1", age="0", gender="f", language="Chinese", consent="a b",
                    consent_date=tomorrow, consent_until="2026-13-01", scopes="audio,face")  # fmt: skip
    made = run_here("session", "new", tmp_path / "P07", *wrong, "--script", tmp_path / "none", "--sheet", "mood=good")
    assert made.returncode == 3
    for said in (
        "two capitalised words look like a name", "--age '0'", "--gender 'f'", "--language 'Chinese'",
        "--consent 'a b'",
        "it lies in the future", "--consent-until '2026-13-01'", "'face' is none of", "there is no such file",
        "--sheet 'mood=good'",
    ):  # fmt: skip
        assert said in made.stderr
    assert not (tmp_path / "P07").exists()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"consent_until": "2026-01-01"}, "it is over already"),
        ({"consent_date": "yesterday"}, "a date is YYYY-MM-DD"),
        ({"scopes": "audio,rgb"}, "without mesh nothing can be recorded"),
        ({"age": "１４"}, "an age is 1 to 120 years"),
    ],
)
def test_implausible_answers_are_refused(tmp_path: Path, text: Path, changed: dict[str, str], said: str) -> None:
    made = run_here("session", "new", tmp_path / "P07", *options(**changed), "--script", text)
    assert made.returncode == 3
    assert said in made.stderr
    assert not (tmp_path / "P07").exists()


def test_on_a_terminal_everything_is_asked_for(tmp_path: Path, text: Path) -> None:
    (tmp_path / "lab.toml").write_text('[sound]\nmicrophone = "Solo"\n')
    answers = ["Jane Doe", "P07", "old", "24", "female", "zh", "2", "2026-01-02", "", "mesh,audio", str(text),
               "B12", "", "far", "60", "45", ""]  # fmt: skip
    operator, terminal = pty.openpty()
    command = [sys.executable, "-m", "mmface4d.cli", "session", "new", str(tmp_path / "P07")]
    running = subprocess.Popen(command, stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    os.write(operator, "".join(f"{answer}\n" for answer in answers).encode())
    _, said = running.communicate(timeout=60)
    os.close(operator)
    os.close(terminal)
    assert running.returncode == 0, said
    assert "it cannot be a pseudonym" in said
    assert "an age is 1 to 120 years" in said
    record = open_session(tmp_path / "P07").record
    assert record.consent is not None
    assert (record.subject, record.consent.scopes) == ("P07", ("mesh", "audio"))
    sheet = record.sheet
    assert (sheet.room, sheet.microphone, sheet.microphone_cm, sheet.warm_up_min) == ("B12", "Solo", 60, 45)


def test_who_is_known_in_the_lab_is_not_asked_again(tmp_path: Path, text: Path) -> None:
    (tmp_path / "lab.toml").touch()
    sessions = tmp_path / "sessions"
    assert run_here("session", "new", sessions / "1", *options(), "--script", text).returncode == 0
    second = run_here("session", "new", sessions / "2", "--subject", "P07", "--script", text)
    assert second.returncode == 0, second.stderr
    assert open_session(sessions / "2").record.consent == open_session(sessions / "1").record.consent
    other = run_here("session", "new", sessions / "3", *options(gender="male"), "--script", text)
    assert other.returncode == 3
    assert "P07 is known already, with gender female, not male" in other.stderr
    renewed = run_here("session", "new", sessions / "4", *options(consent="3", consent_date="2026-01-03"),
                      "--script", text)  # fmt: skip
    assert renewed.returncode == 0, renewed.stderr
    assert [each.version for each in read_subject(tmp_path / "subjects" / "P07.json").former] == ["2"]


def test_the_virtual_actor_is_asked_nothing(tmp_path: Path, text: Path) -> None:
    made = run_here("session", "new", tmp_path / "try", "--virtual-actor", "--language", "zh", "--script", text)
    assert made.returncode == 0, made.stderr
    assert made.stdout.endswith(f"record them with: mmface4d record {tmp_path}/try --virtual\n")
    assert open_session(tmp_path / "try").record.virtual
    somebody = run_here("session", "new", tmp_path / "b", "--virtual-actor", "--subject", "P07", "--script", text)
    assert somebody.returncode == 2
    assert "goes without --subject" in somebody.stderr


@pytest.mark.parametrize("arguments", [(), ("--auto", "--no-page")])
def test_nobody_is_recorded_without_consent(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    session = create_session(tmp_path / "P07", subject="P07", script=[ScriptItem(id="a", text="Good morning.")])
    done = run_here("record", session.path, *arguments)
    assert done.returncode == 3
    assert "nothing says that P07 consented" in done.stderr
    assert not any(session.takes.iterdir())
    assert not (session.path / "log.jsonl").exists()


def test_consent_that_has_ended_or_been_taken_back_is_none(tmp_path: Path, text: Path) -> None:
    session = tmp_path / "P07"
    assert run_here("session", "new", session, *options(), "--script", text).returncode == 0
    record = json.loads((session / "subject.json").read_text())
    ended = record | {"consent": record["consent"] | {"until": "2026-01-31"}}
    (session / "subject.json").write_text(json.dumps(ended))
    refused = run_here("record", session)
    assert (refused.returncode, "ended on 2026-01-31" in refused.stderr) == (3, True)
    mixed = run_here("record", session, "--virtual", "--auto", "--no-page")
    assert (mixed.returncode, "a session of a person, P07" in mixed.stderr) == (3, True)
    (session / "subject.json").write_text(json.dumps(record))
    assert run_here("subject", "withdraw", "P07", "--folder", session).returncode == 0
    refused = run_here("record", session)
    assert (refused.returncode, "P07 took their consent back" in refused.stderr) == (3, True)
    assert "withdrawn: the person took" in run_here("session", "show", session).stdout


def test_an_existing_session_is_left_alone(tmp_path: Path, text: Path) -> None:
    command = ("session", "new", tmp_path / "P07", "--virtual-actor", "--language", "zh", "--script", text)
    assert run_here(*command).returncode == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "P07").glob("*.json*")}
    again = run_here(*command)
    assert again.returncode == 3
    assert "not empty" in again.stderr
    assert {path.name: path.read_bytes() for path in (tmp_path / "P07").glob("*.json*")} == before


@pytest.mark.parametrize("subject", ["Jane Doe", "../x", "", "a/b"])
def test_pseudonyms_are_plain(tmp_path: Path, text: Path, subject: str) -> None:
    made = run_here("session", "new", tmp_path / "P", *options(subject=subject), "--script", text)
    assert made.returncode == 3
    assert "pseudonym" in made.stderr
    assert not (tmp_path / "P" / "session.json").exists()


def test_the_time_left_follows_the_pace(tmp_path: Path) -> None:
    script = [ScriptItem(id=f"a{n}", text="Good morning.") for n in range(10)]
    session = create_session(tmp_path / "s", subject="P07", script=script)
    estimate_s, by_pace = time_left_s(session)
    assert not by_pace
    assert 10 * 3 < estimate_s < 10 * 30
    at = ["10:00:00", "10:00:20", "10:00:40", "11:30:00", "11:30:20"]  # with a break before the last but one
    lines = [
        {"what": "skipped" if n == 2 else "kept", "item": f"a{n}", "at": f"2026-11-21T{time}.000+00:00"}
        for n, time in enumerate(at)
    ]
    (session.path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert time_left_s(open_session(session.path)) == (5 * 20.0, True)


def test_a_clock_that_was_set_back_gives_no_pace() -> None:
    events = [Event("kept", "a", at, {}) for at in ("2026-11-21T10:00:00+00:00", "2026-11-21T09:00:00+00:00", "noon")]
    assert list(seconds_a_sentence(events)) == []


@pytest.mark.parametrize(("said", "language"), [("How are you?", "zh"), ("早上好。", "en")])
def test_lines_in_another_language_are_refused(tmp_path: Path, said: str, language: str) -> None:
    (tmp_path / "s.txt").write_text(f"{'你好。' if language == 'zh' else 'Hello.'}\n{said}\n", encoding="utf-8")
    with pytest.raises(InputError, match=f"line 2: .* letters .* in a script in {language}"):
        load_script(tmp_path / "s.txt", language=language)


@pytest.mark.parametrize("name", ["s.csv", "S.TSV", "s.json"])
def test_tables_are_no_scripts(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("text,emotion\nThe last bus leaves at nine.,sad\n")
    with pytest.raises(InputError, match="is no script") as refused:
        load_script(tmp_path / name)
    assert "corpus build" in str(refused.value.hint)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe\x00bad", "no UTF-8"),
        ("早上好。\n您好。\n".encode("gbk"), "line 1: no UTF-8 text: it looks like GBK"),
        (b"\n \n", "no sentence"),
        (b"a\n" + b"x" * 1001, "line 2"),
    ],
)
def test_broken_texts_are_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "s.txt").write_bytes(content)
    with pytest.raises(InputError, match=said):
        load_script(tmp_path / "s.txt")
