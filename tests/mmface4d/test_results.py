"""Records speak of the file that lies there, or of none."""

import os
from pathlib import Path

import pytest

from mmface4d.results import (
    Failure,
    Hashes,
    Output,
    ResultPlace,
    ResultRecord,
    read_record,
    sequence_place,
    usable_sequence,
    write_record,
)
from tests.mmface4d.test_sequence import write

NOTHING = "0" * 64
HASHES = Hashes(input=NOTHING, calibration=NOTHING, model=NOTHING, settings=NOTHING, program=NOTHING)
NO_FACE = Failure(kind="permanent", reason="no face", error="FaceNotFoundError", message="nobody is there")


def put(place: ResultPlace, content: bytes = b"mesh") -> ResultPlace:
    place.output.parent.mkdir(parents=True, exist_ok=True)
    place.output.write_bytes(content)
    return place


def record(place: ResultPlace, failure: Failure | None = None) -> None:
    output = Output(file=place.output.name, bytes=place.output.stat().st_size, sha256=NOTHING)
    status = "done" if failure is None else "failed"
    made = ResultRecord(
        item="P01/001", what="sequence", status=status, hashes=HASHES, failure=failure,
        output=output if failure is None else None,
    )  # fmt: skip
    write_record(place.record, made)


def test_no_record_outlives_the_file_it_speaks_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = sequence_place(tmp_path, "001")
    write(place.output)
    record(place)
    before = place.output.read_bytes()

    def killed(source: Path, target: Path) -> None:
        assert read_record(place.record) is None
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            write(place.output, model="another1")  # a file of the same length
    assert place.output.read_bytes() == before
    write(place.output)
    assert read_record(place.record) is None


def test_an_older_sequence_is_of_no_use_where_the_last_attempt_failed(tmp_path: Path) -> None:
    place = sequence_place(tmp_path, "001")
    assert usable_sequence(tmp_path, "001") is None
    put(place)
    assert usable_sequence(tmp_path, "001") == place.output  # put there by hand
    record(place)
    assert usable_sequence(tmp_path, "001") == place.output
    put(place, b"longer than it was")
    assert usable_sequence(tmp_path, "001") is None
    record(place, NO_FACE)
    assert usable_sequence(tmp_path, "001") is None
    place.record.write_text("{")
    assert usable_sequence(tmp_path, "001") is None
