"""`mmface4d session new|show`."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mmface4d.errors import UsageError

if TYPE_CHECKING:
    from mmface4d.session import Session
    from mmface4d.subject import Subject

PATH = click.Path(path_type=Path)
NEW_EPILOG = """\b
Examples:
  mmface4d session new sessions/P07 --subject P07 --age 24 --gender female --language zh \\
    --consent 2 --consent-date 2026-11-02 --scopes mesh,audio --script sentences.txt
  mmface4d session new sessions/try --virtual-actor --script sentences.txt
"""
SHOW_EPILOG = """\b
Examples:
  mmface4d session show sessions/P07
  mmface4d session show sessions/P07 --json
"""


@click.group(
    epilog="\b\nExamples:\n  mmface4d session new sessions/P07\n  mmface4d session show sessions/P07 --json",
)
def session() -> None:
    """Make and show recording sessions."""


@session.command("new", epilog=NEW_EPILOG)
@click.argument("folder", type=PATH)
@click.option("--subject", help="A pseudonym such as P07; names are never stored.")
@click.option("--script", help="Sentences: .jsonl with id and text, or .txt, one a line.")
@click.option("--age", help="Of the person, in years.")
@click.option("--gender", help="female, male, other or unknown.")
@click.option("--language", help="The person's first one, such as zh or en, and that of a .txt script.")
@click.option("--consent", metavar="VERSION", help="Version of the consent form that the person signed.")
@click.option("--consent-date", metavar="DATE", help="When they signed it, YYYY-MM-DD.")
@click.option("--consent-until", metavar="DATE", help="When it ends; without it, never.")
@click.option("--scopes", help="What it covers: mesh,audio,rgb,publish-picture or some of them; mesh is needed.")
@click.option(
    "--sheet", multiple=True, metavar="KEY=VALUE", help="room, microphone, microphone-cm, warm-up-min, notes."
)
@click.option("--virtual-actor", is_flag=True, help="Nobody is recorded: a session for `record --virtual`.")
def session_new(
    folder: Path, subject: str | None, script: str | None, age: str | None, gender: str | None, language: str | None,
    consent: str | None, consent_date: str | None, consent_until: str | None, scopes: str | None,
    sheet: tuple[str, ...], virtual_actor: bool,
) -> None:  # fmt: skip
    """Make a session folder, with its person's consent.

    On a terminal everything that is needed and not given is asked for. A person who is known in the lab needs only
    --subject and --script; consent options then enter a newer consent.
    """
    from mmface4d.session import refuse_used_folder

    given = {
        "--subject": subject, "--script": script, "--age": age, "--gender": gender, "--language": language,
        "--consent": consent, "--consent-date": consent_date, "--consent-until": consent_until, "--scopes": scopes,
    }  # fmt: skip
    refuse_used_folder(folder)  # before anything is asked
    if virtual_actor:
        made, person = _make_virtual(folder, given, sheet), None
    else:
        made, person = _make(folder, given, sheet)
        click.echo(subject_line(person))
    then = f"mmface4d record {folder}{' --virtual' if virtual_actor else ''}"
    click.echo(f"{folder}: {len(made.script)} sentences; record them with: {then}")


def _make(folder: Path, given: dict[str, str | None], sheet: tuple[str, ...]) -> "tuple[Session, Subject]":
    from corpus.script_file import load_script
    from corpus.session_answers import Asker, ask_all
    from mmface4d.session import create_session
    from mmface4d.subject import read_subject, subject_path

    try:
        answers = ask_all(folder, Asker(given, asks=False), sheet)
    except UsageError:  # something is missing
        if not sys.stdin.isatty():
            raise
        answers = ask_all(folder, Asker(given, asks=True), sheet)
    person = answers.person
    script = load_script(answers.script, language=given["--language"] or person.language)
    made = create_session(folder, subject=person.pseudonym, script=script, person=person, sheet=answers.sheet)
    return made, read_subject(subject_path(folder, person.pseudonym))


def _make_virtual(folder: Path, given: dict[str, str | None], sheet: tuple[str, ...]) -> "Session":
    from corpus.script_file import load_script
    from corpus.session_answers import OF_PERSON, SCRIPT, Asker, ask_sheet
    from mmface4d.session import create_session
    from mmface4d.session_folders import VIRTUAL_ACTOR

    meant = [q.option for q in OF_PERSON if q.option != "--language" and given[q.option] is not None]
    if meant:
        raise UsageError(f"--virtual-actor is nobody, so it goes without {', '.join(meant)}", hint="leave them out")
    asker = Asker(given, asks=False)
    script, noted = asker.answer(SCRIPT), ask_sheet(sheet, asker)
    asker.finish()
    items = load_script(script, language=given["--language"] or "en")
    return create_session(folder, subject=VIRTUAL_ACTOR, script=items, virtual=True, sheet=noted)


@session.command("show", epilog=SHOW_EPILOG)
@click.argument("folder", type=PATH)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def session_show(folder: Path, as_json: bool) -> None:
    """Show progress, the time left, takes and what is to be repeated."""
    from mmface4d.session import open_session

    shown = session_json(open_session(folder))
    click.echo(json.dumps(shown, ensure_ascii=False, indent=1) if as_json else session_text(shown))


def session_json(shown: "Session") -> dict[str, Any]:
    """The session as plain values."""
    from corpus.session_progress import time_left_s
    from mmface4d.withdrawal import MARK

    states, record = shown.states.values(), shown.record
    left_s, by_pace = time_left_s(shown)
    following = shown.next_item()
    return {
        "session": str(shown.path),
        "subject": record.subject,
        "created": record.created,
        "virtual": record.virtual,
        "consent": record.consent.model_dump(mode="json") if record.consent else None,
        "withdrawn": (shown.path / MARK).exists(),
        "sheet": record.sheet.model_dump(mode="json"),
        "counts": dict(Counter(state.status for state in states)),
        "done": shown.done,
        "time_left_s": round(left_s),
        "time_left_from": "pace" if by_pace else "estimate",
        "next": following.id if following else None,
        "retakes": [state.item.id for state in states if state.status == "retake"],
        "unfinished_takes": [path.name for path in shown.unfinished_takes()],
        "items": [
            {
                "id": state.item.id, "text": state.item.text, "emotion": state.item.emotion, "status": state.status,
                "takes": state.takes, "kept_take": state.kept_take, "reasons": state.reasons, "notes": state.notes,
            }
            for state in states
        ],
    }  # fmt: skip


def session_text(shown: dict[str, Any]) -> str:
    """The session for a person: counts, time left, then what is to be repeated."""
    counts = ", ".join(f"{count} {status}" for status, count in shown["counts"].items())
    whom = "the virtual actor" if shown["virtual"] else f"subject {shown['subject']}"
    lines = [f"{shown['session']}: {whom}, {len(shown['items'])} sentences ({counts})"]
    if shown["withdrawn"]:
        lines.append("  withdrawn: the person took their consent back")
    if shown["consent"]:
        lines.append(f"  consent {consent_text(shown['consent'])}")
    if sheet := sheet_text(shown["sheet"]):
        lines.append(f"  sheet   {sheet}")
    lines.append(f"  {_left_text(shown)}")
    for item in shown["items"]:
        if item["status"] == "retake":
            lines.append(f"  retake {item['id']}: {'; '.join(item['reasons']) or 'asked for'}")
        lines += [f"  note   {item['id']}: {note}" for note in item["notes"]]
    for name in shown["unfinished_takes"]:
        lines.append(f"  unfinished {name}: save it with: mmface4d take recover {shown['session']}/takes/{name}")
    return "\n".join(lines)


def _left_text(shown: dict[str, Any]) -> str:
    done = f"{shown['done']} of {len(shown['items'])} done"
    if shown["next"] is None:
        return done
    how = "at the pace so far" if shown["time_left_from"] == "pace" else "by an estimate"
    return f"{done}, about {max(round(shown['time_left_s'] / 60), 1)} min left {how}; next is {shown['next']}"


def consent_text(consent: dict[str, Any]) -> str:
    """A consent in a few words."""
    until = f"until {consent['until']}" if consent["until"] else "without end"
    return f"{consent['version']} of {consent['date']}, {until}: {', '.join(consent['scopes'])}"


def sheet_text(sheet: dict[str, Any]) -> str:
    """What the session sheet says, in a few words."""
    distance = f"{sheet['microphone_cm']:g} cm from the mouth" if sheet["microphone_cm"] is not None else ""
    warm = f"cameras on for {sheet['warm_up_min']:g} min" if sheet["warm_up_min"] is not None else ""
    microphone = " ".join(each for each in (sheet["microphone"], distance) if each)
    return "; ".join(each for each in (sheet["room"], microphone, warm, sheet["notes"]) if each)


def subject_line(person: "Subject") -> str:
    """A subject in a line."""
    consent = consent_text(person.consent.model_dump(mode="json")) if person.consent else "none"
    state = f"withdrawn on {person.withdrawn}" if person.withdrawn else f"consent {consent}"
    return f"{person.pseudonym}: {person.age}, {person.gender}, {person.language}; {state}"
