"""Records speak of the file that lies there, or of none."""

import os
from pathlib import Path

import pytest

from mmface4d.results import Hashes, Output, ResultPlace, ResultRecord, read_record, sequence_place, write_record
from tests.mmface4d.test_sequence import write

NOTHING = "0" * 64
HASHES = Hashes(input=NOTHING, calibration=NOTHING, model=NOTHING, settings=NOTHING, program=NOTHING)


def record(place: ResultPlace) -> None:
    output = Output(file=place.output.name, bytes=place.output.stat().st_size, sha256=NOTHING)
    write_record(
        place.record, ResultRecord(item="P01/001", what="sequence", status="done", hashes=HASHES, output=output)
    )


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


def test_a_file_of_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    other = sequence_place(tmp_path, "001").record
    other.parent.mkdir(parents=True)
    for content in ('{"title": "my records"}', "{", "[]"):
        other.write_text(content)
        write(sequence_place(tmp_path, "001").output)
        assert other.read_text() == content
