"""Scripts as files: a JSONL file an actor, written once; and which sentences other scripts have already."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from corpus.actor_scripts import ActorScript
from corpus.normalise import same_key
from corpus.phonemes import is_mandarin
from corpus.sentence import Sentence
from mmface4d.errors import InputError, UsageError
from mmface4d.files import atomic_path
from mmface4d.locks import locked
from mmface4d.session import read_script
from mmface4d.session_folders import find_sessions

MOST_NAMED = 20
# in a folder of sessions, in a session, in a folder of scripts; sessions may lie deeper
WHERE_SCRIPTS_LIE = ("*/script.jsonl", "script.jsonl", "actor-*.jsonl")


@dataclass(frozen=True)
class Written:
    """Where an actor's script is, and whether it had been there before, word for word."""

    script: ActorScript
    path: Path
    was_there: bool


def script_path(folder: Path, actor: int) -> Path:
    """`actor-007.jsonl`."""
    return folder / f"actor-{actor:03d}.jsonl"


def write_scripts(folder: Path, scripts: Sequence[ActorScript]) -> list[Written]:
    """Writes scripts that are not there yet; where one is there that says something else, raises and writes none."""
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock", what=f"scripts in {folder}"):
        written = [_looked_up(script, script_path(folder, script.actor)) for script in scripts]
        others = [each.path.name for each in written if each.path.exists() and not each.was_there]
        if others:
            raise InputError(f"{folder} has other scripts of these names: {_named(others)}", hint=_OTHER)
        for each in written:
            if not each.was_there:
                with atomic_path(each.path) as partial:
                    partial.write_text(_text(each.script), encoding="utf-8")
    return written


_OTHER = "scripts are never overwritten: choose another folder, or give corpus, seed and options as they were"


def _looked_up(script: ActorScript, path: Path) -> Written:
    same = path.is_file() and path.read_bytes() == _text(script).encode()
    return Written(script, path, was_there=same)


def _text(script: ActorScript) -> str:
    return "".join(item.model_dump_json() + "\n" for item in script.items)


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def in_one_language(corpus: Sequence[Sentence], language: str | None) -> list[Sentence]:
    """The sentences of a language and its varieties; needs no language where there is only one.

    `zh` has `zh-TW` too, but not `zh-HK`, which is read as Cantonese.
    """
    there = sorted({sentence.language for sentence in corpus})
    if language is None and len(there) > 1:
        raise UsageError(f"the corpus has sentences in {', '.join(there)}", hint="choose one with --language")
    wanted = language or there[0]
    found = [s for s in corpus if s.language == wanted or _is_variety(s.language, wanted)]
    if not found:
        raise InputError(f"the corpus has no sentence in {wanted}", hint=f"it has {', '.join(there)}")
    return found


def _is_variety(language: str, of: str) -> bool:
    return language.startswith(f"{of}-") and is_mandarin(language) == is_mandarin(of)


def uses_elsewhere(corpus: Iterable[Sentence], folder: Path) -> dict[str, int]:
    """How many scripts in a folder have each sentence, by id; practice does not count.

    Sentences are known by their text, since ids change when a corpus is built anew. Raises InputError where the folder
    is missing, cannot be looked into, or a script in it is damaged.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder", hint="give the folder of sessions or of scripts")
    sessions, closed = find_sessions(folder)
    if closed:
        raise InputError("; ".join(closed), hint="change the folder's permissions, or give another one")
    paths = {path for pattern in WHERE_SCRIPTS_LIE for path in folder.glob(pattern)}
    paths = sorted(paths | {path / "script.jsonl" for path in sessions})
    said = Counter(same_key(item.text) for path in paths for item in read_script(path) if not item.practice)
    return {sentence.id: said[same_key(sentence.text)] for sentence in corpus if said[same_key(sentence.text)]}
