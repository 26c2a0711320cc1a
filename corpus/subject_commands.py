"""`mmface4d subject list|show|consent|withdraw`."""

import json
import sys
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mmface4d.errors import InputError, SomeItemsFailedError

if TYPE_CHECKING:
    from mmface4d.subject import Subject

MOST_TOLD = 20
LIST_EPILOG = """\b
Examples:
  mmface4d subject list
  mmface4d subject list --folder /data/lab --json
"""
SHOW_EPILOG = """\b
Examples:
  mmface4d subject show P07
  mmface4d subject show P07 --folder /data/lab --json
"""
CONSENT_EPILOG = """\b
Examples:
  mmface4d subject consent P07 --consent 3 --consent-date 2026-11-20 --scopes mesh,audio,rgb
  mmface4d subject consent P07 --folder sessions/P07
"""
WITHDRAW_EPILOG = """\b
Examples:
  mmface4d subject withdraw P07
  mmface4d subject withdraw P07 --folder /data/lab --json
"""
folder_option = click.option(
    "--folder", type=click.Path(path_type=Path), default=Path(), show_default="the current one",
    help="The lab or somewhere in it; or a folder of sessions outside any lab.",
)  # fmt: skip
json_option = click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")


@click.group(epilog="\b\nExamples:\n  mmface4d subject list\n  mmface4d subject withdraw P07")
def subject() -> None:
    """Show the people who are recorded, renew and withdraw their consent."""


@dataclass
class Known:
    """What is there of a person."""

    pseudonym: str
    records: "list[tuple[Path, Subject]]" = field(default_factory=list)
    sessions: list[Path] = field(default_factory=list)

    def json(self) -> dict[str, Any]:
        """As plain values; the record of the lab comes before those of sessions."""
        record = self.records[0][1].model_dump(mode="json") if self.records else None
        sessions = [str(path) for path in self.sessions]
        return {"pseudonym": self.pseudonym, "record": record, "sessions": sessions}

    def text(self) -> str:
        """In a line."""
        from corpus.session_commands import subject_line

        told = subject_line(self.records[0][1]) if self.records else f"{self.pseudonym}: no record"
        return f"{told}; {_counted(len(self.sessions), 'session')}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def known_people(folder: Path) -> tuple[dict[str, Known], list[str]]:
    """Everybody in the lab around `folder`, or in the sessions at and below it; and in words what cannot be read."""
    from mmface4d.lab import find_lab
    from mmface4d.session_folders import VIRTUAL_ACTOR, find_sessions, subject_of
    from mmface4d.subject import OWN_RECORD, read_subject

    if not folder.is_dir():
        raise InputError(f"{folder} is no folder", hint="give the lab, or a folder of sessions")
    lab = find_lab(folder)
    people: dict[str, Known] = {}
    roots = [folder] if lab is None else [lab.path, lab.sessions]
    found = [find_sessions(root) for root in roots]
    unread = [text for _, closed in found for text in closed]
    records = [] if lab is None else sorted(lab.subjects.glob("*.json"))
    for session in {path.resolve(): path for sessions, _ in found for path in sessions}.values():
        try:
            name = subject_of(session)
        except InputError as error:
            unread.append(error.message)
            continue
        if name != VIRTUAL_ACTOR:
            people.setdefault(name, Known(name)).sessions.append(session)
            records += [session / OWN_RECORD] if (session / OWN_RECORD).is_file() else []
    for path in records:
        try:
            record = read_subject(path)
            people.setdefault(record.pseudonym, Known(record.pseudonym)).records.append((path, record))
        except InputError as error:
            unread.append(error.message)
    return dict(sorted(people.items())), unread


@subject.command("list", epilog=LIST_EPILOG)
@folder_option
@json_option
def subject_list(folder: Path, as_json: bool) -> None:
    """List everybody who has a record or a session."""
    people, unread = known_people(folder)
    if as_json:
        click.echo(json.dumps([person.json() for person in people.values()], indent=1))
    else:
        click.echo("\n".join(person.text() for person in people.values()) or f"nobody in {folder}")
    _complain(unread, "cannot be read")


@subject.command("show", epilog=SHOW_EPILOG)
@click.argument("pseudonym")
@folder_option
@json_option
def subject_show(pseudonym: str, folder: Path, as_json: bool) -> None:
    """Show a person's record, consents and sessions."""
    people, unread = known_people(folder)
    person = _of(people, pseudonym, folder)
    if as_json:
        click.echo(json.dumps(person.json(), indent=1))
    else:
        click.echo("\n".join(_described(person)))
    _complain(unread, "cannot be read")


def _described(person: Known) -> list[str]:
    from corpus.session_commands import consent_text

    lines = [person.text()]
    for path, record in person.records:
        lines.append(f"  record  {path}")
        lines += [f"  before  consent {consent_text(former.model_dump(mode='json'))}" for former in record.former]
    return lines + [f"  session {path}" for path in person.sessions]


def _of(people: dict[str, Known], pseudonym: str, folder: Path) -> Known:
    if pseudonym not in people:
        raise InputError(
            f"nothing of {pseudonym!r} is in {folder}", hint="see who is there with: mmface4d subject list --folder LAB"
        )
    return people[pseudonym]


@subject.command("consent", epilog=CONSENT_EPILOG)
@click.argument("pseudonym")
@folder_option
@click.option("--consent", metavar="VERSION", help="Version of the consent form that the person signed.")
@click.option("--consent-date", metavar="DATE", help="When they signed it, YYYY-MM-DD.")
@click.option("--consent-until", metavar="DATE", help="When it ends; without it, never.")
@click.option("--scopes", help="What it covers: mesh,audio,rgb,publish-picture or some of them.")
def subject_consent(
    pseudonym: str, folder: Path, consent: str | None, consent_date: str | None, consent_until: str | None,
    scopes: str | None,
) -> None:  # fmt: skip
    """Enter a newer consent of a known person; the one before is kept in the record."""
    from corpus.session_answers import Asker, ask_consent
    from mmface4d.subject import enter_subject

    person = _of(known_people(folder)[0], pseudonym, folder)
    if not person.records:
        raise InputError(f"{pseudonym} has no record", hint="make a session that asks for it: mmface4d session new")
    given = {
        "--consent": consent, "--consent-date": consent_date, "--consent-until": consent_until, "--scopes": scopes,
    }  # fmt: skip
    asks = sys.stdin.isatty() and None in (consent, consent_date, scopes)
    entered = ask_consent(Asker(given, asks))
    for path, record in person.records:
        updated = enter_subject(path, record.model_copy(update={"consent": entered}))
        person.records[person.records.index((path, record))] = (path, updated)
    click.echo(person.text())


@subject.command("withdraw", epilog=WITHDRAW_EPILOG)
@click.argument("pseudonym")
@folder_option
@json_option
def subject_withdraw(pseudonym: str, folder: Path, as_json: bool) -> None:
    """Mark everything recorded of a person as withdrawn: no command uses it any more.

    A withdrawal that was interrupted is finished by running it again.
    """
    from mmface4d.lab import find_lab
    from mmface4d.withdrawal import withdraw

    if sys.stdin.isatty():
        count = _counted(len(_of(known_people(folder)[0], pseudonym, folder).sessions), "session")
        click.confirm(f"Withdraw {pseudonym} with {count}? It cannot be undone", abort=True, err=True)
    done = withdraw(folder, pseudonym, today=date.today())
    if as_json:
        shown = {
            "subject": done.pseudonym, "withdrawn": done.day.isoformat(), "sessions": [str(s) for s in done.sessions],
            "takes_marked": done.marked, "takes_marked_before": done.marked_before, "failed": done.failed,
        }  # fmt: skip
        click.echo(json.dumps(shown, indent=1))
    else:
        click.echo(
            f"{done.pseudonym} is withdrawn since {done.day}: {_counted(len(done.sessions), 'session')}, "
            f"{_counted(done.marked, 'take')} marked now, {done.marked_before} before"
        )
        click.echo("copies, exported recordings and sequences made of these takes are not marked: delete them")
        if find_lab(folder) is None:
            click.echo(f"this is no lab: only {folder} was looked into, and no session elsewhere is marked")
    _complain(done.failed, "not marked")


def _complain(texts: list[str], what: str) -> None:
    """Says everything that failed; raises SomeItemsFailedError where there is something."""
    for text in texts[:MOST_TOLD]:
        click.echo(text, err=True)
    if len(texts) > MOST_TOLD:
        click.echo(f"and {len(texts) - MOST_TOLD} more", err=True)
    if texts:
        raise SomeItemsFailedError(f"{len(texts)} {what}", hint="mend what is said above, then run it again")
