"""Whether a session may be recorded now: a person's with their consent, the virtual actor's with the virtual rig."""

from datetime import date
from typing import Any

from mmface4d.errors import ConsentError, InputError
from mmface4d.session import Session
from mmface4d.subject import check_may_record, read_subject, subject_path
from mmface4d.withdrawal import MARK, refuse_withdrawn_person


def recording_permit(session: Session, *, virtual: bool, today: date) -> dict[str, Any]:
    """What the takes are to say about whom they show and what was consented to.

    Raises ConsentError where the session may not be recorded, InputError where the subject's record is damaged.
    """
    if virtual:
        return _virtual_permit(session)
    name, path = session.record.subject, session.path
    if session.record.virtual:
        raise ConsentError(
            f"{path} is a session of the virtual actor", hint="add --virtual, or make a session for the person"
        )
    if (path / MARK).exists():
        raise ConsentError(f"{path} is withdrawn: {name} took their consent back", hint="do not record them")
    refuse_withdrawn_person(path, name)
    record = subject_path(path, name)
    if not record.is_file():
        raise ConsentError(
            f"nothing says that {name} consented: there is no {record}",
            hint="make a session that asks for it with: mmface4d session new; without a person, record with --virtual",
        )
    subject = read_subject(record)
    if subject.pseudonym != name:
        raise InputError(f"{record} is about {subject.pseudonym}, not {name}", hint="put the right record there")
    check_may_record(subject, today)
    consent = subject.consent
    return {"consent": {"version": consent.version, "scopes": list(consent.scopes)}} if consent else {}


def names_person(session: Session) -> bool:
    """Whether a session tells of a person: it notes a consent, or there is a record of its subject."""
    return session.record.consent is not None or subject_path(session.path, session.record.subject).is_file()


def _virtual_permit(session: Session) -> dict[str, Any]:
    record = session.record
    if names_person(session) and not record.virtual:
        raise ConsentError(
            f"{session.path} is a session of a person, {record.subject}: no virtual take may get among theirs",
            hint="make another one with: mmface4d session new FOLDER --virtual-actor --script FILE",
        )
    return {"virtual": True}
