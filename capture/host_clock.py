"""`host_clock.csv`: when each capture arrived on the host, as a capture program logs it."""

import csv
from pathlib import Path

import numpy as np

from capture.clocks import HostTimes
from mmface4d.errors import RecordingError

COLUMNS = ["serial", "color_timestamp_usec", "host_monotonic_nsec"]
MAX_BYTES = 512 << 20


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
                rows.setdefault(serial, []).append((int(device_usec), int(host_nsec)))
    except ValueError as error:
        raise RecordingError(f"{path} is no host clock: {error}", hint="delete it, or write it anew") from error
    out = {}
    for serial, pairs in rows.items():
        values = np.array(sorted(pairs), dtype=np.int64)
        out[serial] = HostTimes(values[:, 0], values[:, 1])
    return out
