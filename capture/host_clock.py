"""`host_clock.csv`: when each capture arrived on the host, as a capture program logs it."""

import csv
from pathlib import Path

import numpy as np
from jaxtyping import Int

from capture.clocks import HostTimes
from mmface4d.errors import RecordingError

COLUMNS = ["serial", "color_timestamp_usec", "host_monotonic_nsec"]
MAX_BYTES = 512 << 20
MOST_USEC, MOST_NSEC = 9 * 10**15, 1 << 62  # with these, differences of times fit 64 bits
LEAST_KNOWN = 0.1  # of the rows within a recording's time; those of another recording meet its pictures by chance only


def read_host_clock(path: Path) -> dict[str, HostTimes]:
    """Arrival times by serial number; raises RecordingError where the file is of another kind."""
    if path.stat().st_size > MAX_BYTES:
        raise RecordingError(f"{path} is larger than {MAX_BYTES >> 20} MiB", hint="this is no host_clock.csv")
    rows: dict[str, list[tuple[int, int]]] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            if next(reader, None) != COLUMNS:
                raise ValueError(f"its first line is not {','.join(COLUMNS)}")
            for serial, device_usec, host_nsec in reader:
                pair = int(device_usec), int(host_nsec)
                if not (0 <= pair[0] < MOST_USEC and 0 <= pair[1] < MOST_NSEC):
                    raise ValueError(f"line {reader.line_num} has a time that cannot be")
                rows.setdefault(serial, []).append(pair)
    except (ValueError, csv.Error) as error:
        raise RecordingError(f"{path} is no host clock: {error}", hint="delete it, or write it anew") from error
    out = {}
    for serial, pairs in rows.items():
        values = np.array(sorted(pairs), dtype=np.int64)
        out[serial] = HostTimes(values[:, 0], values[:, 1])
    return out


def refuse_foreign(path: Path, host: dict[str, HostTimes], color_usec: dict[str, Int[np.ndarray, "n_color"]]) -> None:
    """Raises RecordingError where the arrival times are not of these pictures: they would pair wrong frames."""
    for serial, recorded in color_usec.items():
        if serial not in host or not len(recorded):
            continue
        rows = host[serial].device_usec
        within = rows[(rows >= recorded.min() - 1) & (rows <= recorded.max() + 1)]
        known = np.isin(within, np.concatenate([recorded - 1, recorded, recorded + 1]))  # a writer may round
        if not len(within) or known.mean() < LEAST_KNOWN:
            raise RecordingError(
                f"{path} is of another recording: it has not the times of camera {serial}'s pictures",
                hint="put the host_clock.csv there that was written with these recordings, or move it away",
            )
