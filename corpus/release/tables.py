"""The Parquet tables of a release, from rows and back; rows of another shape are refused."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

from corpus.release.layout import MAX_TABLE_BYTES
from mmface4d.errors import InputError, MissingBackendError

if TYPE_CHECKING:
    import pyarrow

Row = TypeVar("Row")


def write_table(path: Path, kind: type[Row], rows: Sequence[Row]) -> None:
    """Writes rows of a dataclass; the bytes depend on nothing else."""
    pa, pq = pyarrow_modules()
    columns = {each.name: [getattr(row, each.name) for row in rows] for each in dataclasses.fields(kind)}  # type: ignore[arg-type]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns, schema=schema(kind)), path, compression="zstd")


def read_table(path: Path, kind: type[Row]) -> list[Row]:
    """Rows of a table; raises InputError where it is missing, too large, or of another shape."""
    pa, pq = pyarrow_modules()
    hint = "see what is damaged with: mmface4d release verify"
    if not path.is_file():
        raise InputError(f"{path} does not exist", hint=hint)
    if path.stat().st_size > MAX_TABLE_BYTES:
        raise InputError(f"{path} is too large to be a table of ours", hint=hint)
    try:
        table = pq.read_table(path, schema=None).select(schema(kind).names).cast(schema(kind))
        return [kind(**row) for row in table.to_pylist()]
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path} is damaged: {error}", hint=hint) from error


def pyarrow_modules() -> tuple[Any, Any]:
    """pyarrow and its Parquet part; raises MissingBackendError where they are not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingBackendError(f"releases need pyarrow: {error}", hint='pip install "mmface4d[release]"') from error
    return pyarrow, pyarrow.parquet


def schema(kind: type) -> "pyarrow.Schema":
    """The columns of a dataclass of texts, numbers and truths; those that may be None may be null."""
    pa, _ = pyarrow_modules()
    types: dict[Any, Any] = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}

    def column(name: str, hint: Any) -> "pyarrow.Field":
        options = get_args(hint) or (hint,)
        (plain,) = [each for each in options if each is not NoneType]
        return pa.field(name, types[plain], nullable=NoneType in options)

    return pa.schema([column(name, hint) for name, hint in get_type_hints(kind).items()])
