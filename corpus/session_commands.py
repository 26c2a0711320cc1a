"""`mmface4d session new|show`."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import click

from mmface4d.session import Session, create_session, open_session

PATH = click.Path(path_type=Path)
NEW_EPILOG = """\b
Examples:
  mmface4d session new sessions/P07 --subject P07 --script sentences.txt
  mmface4d session new sessions/P08 --subject P08 --script script.jsonl
"""
SHOW_EPILOG = """\b
Examples:
  mmface4d session show sessions/P07
  mmface4d session show sessions/P07 --json
"""


@click.group(epilog=NEW_EPILOG)
def session() -> None:
    """Make and show recording sessions."""


@session.command("new", epilog=NEW_EPILOG)
@click.argument("folder", type=PATH)
@click.option("--subject", required=True, help="A pseudonym; names are never stored.")
@click.option("--script", required=True, type=PATH, help="Sentences: .jsonl with id and text, or .txt, one a line.")
@click.option("--language", default="en", show_default=True, help="Of a .txt script.")
def session_new(folder: Path, subject: str, script: Path, language: str) -> None:
    """Make a session folder."""
    from corpus.script_file import load_script

    made = create_session(folder, subject=subject, script=load_script(script, language=language))
    click.echo(f"{folder}: {len(made.script)} sentences; record them with: mmface4d record {folder}")


@session.command("show", epilog=SHOW_EPILOG)
@click.argument("folder", type=PATH)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def session_show(folder: Path, as_json: bool) -> None:
    """Show progress, takes and what is to be repeated."""
    shown = session_json(open_session(folder))
    click.echo(json.dumps(shown, ensure_ascii=False, indent=1) if as_json else session_text(shown))


def session_json(shown: Session) -> dict[str, Any]:
    """The session as plain values."""
    states = shown.states.values()
    return {
        "session": str(shown.path),
        "subject": shown.record.subject,
        "created": shown.record.created,
        "counts": dict(Counter(state.status for state in states)),
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
    """The session for a person: counts, then what is to be repeated."""
    counts = ", ".join(f"{count} {status}" for status, count in shown["counts"].items())
    lines = [f"{shown['session']}: subject {shown['subject']}, {len(shown['items'])} sentences ({counts})"]
    for item in shown["items"]:
        if item["status"] == "retake":
            lines.append(f"  retake {item['id']}: {'; '.join(item['reasons']) or 'asked for'}")
        lines += [f"  note   {item['id']}: {note}" for note in item["notes"]]
    for name in shown["unfinished_takes"]:
        lines.append(f"  unfinished {name}: save it with: mmface4d take recover {shown['session']}/takes/{name}")
    return "\n".join(lines)
