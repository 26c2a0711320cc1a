"""Where an encoder's weights are: a folder that the user has, or one that the hub's client keeps."""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from mmface4d.errors import InputError, MissingBackendError
from mmface4d.files import file_sha256, read_json, write_json

CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
SAFE, PLAIN = "model.safetensors", "pytorch_model.bin"
# what of a config steers the package transformers and not the network: where else it looks for weights and programs,
# and in what form it answers; an adapter at the end would shorten the tokens' beat
STEERING = {
    "add_adapter", "attn_implementation", "_attn_implementation", "_attn_implementation_internal", "auto_map",
    "experts_implementation", "output_attentions", "output_hidden_states", "quantization_config", "return_dict",
    "transformers_weights",
}  # fmt: skip
_HINT = "fetch it on a machine with a network, and give the folder it is in: transformers:FOLDER"


def weights_folder(folder_or_id: str) -> Path:
    """The folder with config and weights; raises InputError or MissingBackendError where it is not to be had."""
    folder = _existing(folder_or_id)
    if folder is not None:
        return _complete(folder)
    if folder_or_id.startswith(("/", ".", "~")) or folder_or_id.count("/") != 1:
        raise InputError(f"{folder_or_id} is no folder", hint="give a folder with config.json and model.safetensors")
    return _complete(_from_hub(folder_or_id))


def _existing(text: str) -> Path | None:
    """The folder of a text; a name that is too long, or of nobody's home, is none."""
    try:
        folder = Path(text).expanduser()
        return folder if folder.is_dir() else None
    except (OSError, RuntimeError, ValueError):
        return None


def weights_file(folder: Path) -> Path:
    """The file that the weights are read from: safetensors where there are some."""
    return folder / SAFE if (folder / SAFE).is_file() else folder / PLAIN


def folder_sha256(folder: Path) -> str:
    """Of everything that tokens depend on: config, preprocessor and weights."""
    files = [folder / CONFIG, folder / PREPROCESSOR, weights_file(folder)]
    stamps = tuple((file, file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file())
    return _files_sha256(stamps)


@contextmanager
def only_hashed(folder: Path) -> Iterator[Path]:
    """A folder with the config, without what is STEERING, and the weights and nothing else, while the block runs.

    The package transformers would also look for shards, adapters, and weights that the config names; of these the hash
    knows nothing.
    """
    with tempfile.TemporaryDirectory(prefix="mmface4d-encoder-") as made:
        told, weights = read_json(folder / CONFIG), weights_file(folder)
        write_json(Path(made) / CONFIG, {name: value for name, value in told.items() if name not in STEERING})
        try:
            (Path(made) / weights.name).symlink_to(weights.resolve())
        except OSError:  # where a user may make no links
            shutil.copyfile(weights, Path(made) / weights.name)
        yield Path(made)


@lru_cache(maxsize=16)
def _files_sha256(stamps: tuple[tuple[Path, int, int], ...]) -> str:
    """By size and time of change, because a gigabyte takes seconds."""
    whole = hashlib.sha256()
    for path, size, _ in stamps:
        whole.update(f"{path.name} {size} {file_sha256(path)}\n".encode())
    return whole.hexdigest()


def _complete(folder: Path) -> Path:
    missing = [name for name in (CONFIG,) if not (folder / name).is_file()]
    if not weights_file(folder).is_file():
        missing.append(SAFE)
    if missing:
        raise InputError(f"{folder} has no {' and no '.join(missing)}", hint="it is no folder of an audio encoder")
    return folder


def _from_hub(model_id: str) -> Path:
    """What lies in the hub's cache is used without a network."""
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    except ImportError as error:
        raise MissingBackendError(
            f"the audio encoder {model_id} needs the package transformers", hint="pip install 'mmface4d[animation]'"
        ) from error
    try:
        folder = Path(snapshot_download(model_id, allow_patterns=[CONFIG, PREPROCESSOR, SAFE]))
        if not (folder / SAFE).is_file():
            folder = Path(snapshot_download(model_id, allow_patterns=[CONFIG, PREPROCESSOR, PLAIN]))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        told = str(error).strip().partition("\n")[0]
        raise MissingBackendError(f"the audio encoder {model_id} cannot be fetched: {told}", hint=_HINT) from error
    return folder
