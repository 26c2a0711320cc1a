"""Subjects and consents: what they are, who may be recorded, and what is refused as a name."""

import json
import os
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mmface4d.errors import BusyError, ConsentError, InputError
from mmface4d.subject import (
    SCOPES,
    Consent,
    Subject,
    check_may_record,
    enter_subject,
    held_subject,
    read_subject,
    refuse_name,
    subject_path,
    with_consent,
    write_subject,
)

TODAY = date(2026, 11, 21)
CONSENT = Consent(version="2", date=date(2026, 11, 2), scopes=("mesh", "audio"))
SUBJECT = Subject(pseudonym="P07", age=24, gender="female", language="zh", consent=CONSENT)

days = st.dates(date(2000, 1, 1), date(2100, 1, 1))
consents = st.builds(
    lambda version, day, length, scopes: Consent(
        version=version, date=day, until=None if length is None else day + timedelta(length), scopes=tuple(scopes)
    ),
    st.from_regex("[A-Za-z0-9_.-]{1,32}", fullmatch=True), days, st.none() | st.integers(0, 9999),
    st.lists(st.sampled_from(SCOPES), min_size=1, unique=True),
)  # fmt: skip
subjects = st.builds(
    Subject, pseudonym=st.from_regex(r"[A-Z][0-9]{1,6}", fullmatch=True), age=st.integers(1, 120),
    gender=st.sampled_from(["female", "male", "other", "unknown"]), language=st.sampled_from(["zh", "en", "yue-HK"]),
    consent=st.none() | consents, former=st.lists(consents, max_size=2).map(tuple), withdrawn=st.none() | days,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("subjects")


@given(subjects)
def test_a_record_is_read_as_it_was_written(folder: Path, subject: Subject) -> None:
    path = folder / f"{subject.pseudonym}.json"
    write_subject(path, subject)
    assert read_subject(path) == subject


@given(subjects, days)
def test_who_may_be_recorded(subject: Subject, today: date) -> None:
    consent = subject.consent
    may = (
        subject.withdrawn is None and consent is not None and consent.date <= today
        and (consent.until is None or today <= consent.until) and "mesh" in consent.scopes
    )  # fmt: skip
    if may:
        check_may_record(subject, today)
    else:
        with pytest.raises(ConsentError, match=subject.pseudonym):
            check_may_record(subject, today)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"consent": None}, "given no consent"),
        ({"withdrawn": TODAY}, "withdrew their consent on 2026-11-21"),
        ({"consent": CONSENT.model_copy(update={"until": date(2026, 11, 20)})}, "ended on 2026-11-20"),
        ({"consent": CONSENT.model_copy(update={"date": date(2026, 11, 22)})}, "dated 2026-11-22, after today"),
        ({"consent": CONSENT.model_copy(update={"scopes": ("audio", "rgb")})}, "does not cover mesh, only audio, rgb"),
    ],
)
def test_why_somebody_may_not_be_recorded_is_said(changed: dict, said: str) -> None:
    check_may_record(SUBJECT, TODAY)
    with pytest.raises(ConsentError, match=said):
        check_may_record(SUBJECT.model_copy(update=changed), TODAY)


@pytest.mark.parametrize("pseudonym", ["P07", "s-1", "speaker_12", "Actor3", "7", "KX4-2", "A" * 31 + "1"])
def test_codes_are_pseudonyms(pseudonym: str) -> None:
    assert refuse_name(pseudonym) == pseudonym


@pytest.mark.parametrize(
    ("pseudonym", "said"),
    [
        ("Jane Doe", "letters, digits"), ("", "letters"), ("../P07", "letters"), ("P07\n", "letters"),
        ("陈7", "letters"), ("-P7", "letters"), ("A" * 33, "letters"),
        ("JaneDoe1", "look like a name"), ("Jane_Doe_07", "look like a name"),
        ("Wei-Chen2", "look like a name"), ("anna", "without a digit"), ("P1984-03-12", "birth date"),
        ("19840312", "birth date"),
    ],
)  # fmt: skip
def test_names_and_birth_dates_are_no_pseudonyms(pseudonym: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        refuse_name(pseudonym)
    with pytest.raises(ValidationError):
        Subject(pseudonym=pseudonym, age=24, gender="female", language="zh")


@pytest.mark.parametrize(
    "changed",
    [
        {"age": 0}, {"age": 121}, {"gender": "f"}, {"language": "Chinese"}, {"name": "Jane"}, {"born": "1984-03-12"},
        {"consent": {"version": "2", "date": "2026-11-02", "scopes": []}},
        {"consent": {"version": "2", "date": "2026-11-02", "scopes": ["mesh", "mesh"]}},
        {"consent": {"version": "2", "date": "2026-11-02", "scopes": ["everything"]}},
        {"consent": {"version": "2", "date": "2026-11-02", "until": "2026-11-01", "scopes": ["mesh"]}},
        {"consent": {"version": "a/b", "date": "2026-11-02", "scopes": ["mesh"]}},
        {"format": 2}, {"pseudonym": "P08"},
    ],
)  # fmt: skip
def test_broken_records_are_refused(tmp_path: Path, changed: dict) -> None:
    (tmp_path / "P07.json").write_text(json.dumps(SUBJECT.model_dump(mode="json") | changed))
    with pytest.raises(InputError, match=r"P07\.json"):
        read_subject(tmp_path / "P07.json")


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    values = SUBJECT.model_dump(mode="json") | {"age": 200, "gender": "x", "name": "Jane"}
    (tmp_path / "P07.json").write_text(json.dumps(values))
    with pytest.raises(InputError, match=r"age.*gender.*name"):
        read_subject(tmp_path / "P07.json")


def test_a_newer_consent_keeps_the_one_before() -> None:
    newer = Consent(version="3", date=date(2026, 11, 20), scopes=("mesh",))
    renewed = with_consent(SUBJECT, newer)
    assert (renewed.consent, renewed.former) == (newer, (CONSENT,))
    assert with_consent(renewed, newer) == renewed
    with pytest.raises(ConsentError, match="newer consent, of 2026-11-20"):
        with_consent(renewed, CONSENT)


def test_who_has_withdrawn_cannot_consent_again() -> None:
    with pytest.raises(ConsentError, match="withdrew"):
        with_consent(SUBJECT.model_copy(update={"withdrawn": TODAY}), CONSENT)


def test_a_known_pseudonym_is_not_given_to_another_person(tmp_path: Path) -> None:
    path = tmp_path / "P07.json"
    assert enter_subject(path, SUBJECT) == SUBJECT
    before = path.read_bytes()
    for changed in ({"gender": "male"}, {"language": "en"}, {"age": 23}):
        with pytest.raises(InputError, match="P07 is known already"):
            enter_subject(path, SUBJECT.model_copy(update=changed))
    assert path.read_bytes() == before
    older = enter_subject(path, SUBJECT.model_copy(update={"age": 25, "consent": None}))
    assert older == read_subject(path) == SUBJECT.model_copy(update={"age": 25})


def test_pseudonyms_differ_by_more_than_case(tmp_path: Path) -> None:
    enter_subject(tmp_path / "P07.json", SUBJECT)
    with pytest.raises(InputError, match="p07 differs from P07 by case alone"):
        enter_subject(tmp_path / "p07.json", SUBJECT.model_copy(update={"pseudonym": "p07"}))


def test_a_record_is_changed_by_one_process_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "P07.json"
    with held_subject(path), pytest.raises(BusyError, match=f"subject P07 is being written by process {os.getpid()}"):
        enter_subject(path, SUBJECT)
    assert not path.exists()


def test_the_record_is_the_labs_or_else_the_sessions_own(tmp_path: Path) -> None:
    session = tmp_path / "lab" / "sessions" / "a"
    session.mkdir(parents=True)
    assert subject_path(session, "P07") == session / "subject.json"
    (tmp_path / "lab" / "lab.toml").touch()
    assert subject_path(session, "P07").resolve() == (tmp_path / "lab" / "subjects" / "P07.json").resolve()
    write_subject(session / "subject.json", SUBJECT)
    assert subject_path(session, "P07") == session / "subject.json"
    write_subject(tmp_path / "lab" / "subjects" / "P07.json", SUBJECT)
    assert subject_path(session, "P07").resolve() == (tmp_path / "lab" / "subjects" / "P07.json").resolve()
