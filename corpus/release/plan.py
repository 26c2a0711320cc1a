"""What of a lab goes into a release, and why the rest does not.

Whoever may not be published is counted and not named. The rule of pictures: the scope `rgb` lets the pictures out as
they were recorded; without it `publish-picture` lets out mosaics of one picture a second; without both, nothing.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from corpus.dataset.consent import UNCLEAR
from corpus.dataset.items import NOT_RECONSTRUCTED, Item
from corpus.release.identity import Identity
from corpus.release.layout import COMPONENTS, SCOPE_OF, MissingRow
from corpus.release.meshes import Topology, topology_of
from corpus.release.reader import Release
from corpus.release.splits import SplitRules, assign
from corpus.release.sums import changed_tables
from mmface4d.errors import InputError
from mmface4d.files import read_json
from mmface4d.sequence import load_sequence
from mmface4d.session_folders import RECORD

NOT_AGAIN = "was taken out of an earlier release"
NO_CODES = "the sentence's id or text holds a code of the lab"


@dataclass(frozen=True)
class Planned:
    """An item that is to be released; `preview` stands for mosaics in the place of pictures."""

    item: Item
    sequence: Path
    take: Path
    id: str
    subject: str
    token: str
    split: str = ""
    components: tuple[str, ...] = ()
    preview: bool = False
    topology: Topology | None = None


@dataclass
class Plan:
    """What is to be released, what is not, and on which topology."""

    planned: list[Planned] = field(default_factory=list)
    missing: list[MissingRow] = field(default_factory=list)
    topology: Topology | None = None
    permitted: set[str] = field(default_factory=set)  # released names of everybody who lets their meshes out


def plan_release(
    items: Sequence[Item], *, identity: Identity, rules: SplitRules, components: tuple[str, ...],
    previous: Release | None, before: Mapping[str, str],
) -> Plan:  # fmt: skip
    """The plan; `before` are the splits so far by released id.

    Raises InputError where nothing is left, or the previous release is another lab's or damaged.
    """
    if previous is not None and (changed := changed_tables(previous.path)):
        raise InputError(
            f"{previous.path} is damaged: {changed[0]}", hint=f"see all of it: mmface4d release verify {previous.path}"
        )
    if previous is not None and previous.record.key_fingerprint != identity.fingerprint:
        raise InputError(
            f"{previous.path} was made with another lab's key", hint="restore .release-key of the lab that made it"
        )
    plan = Plan()
    named = _named(_permitted(items, identity, previous, plan), identity=identity, previous=previous)
    plan.permitted = {each.subject for each in named}
    _refuse_unclear(items, plan, identity=identity, previous=previous)
    codes = _codes(items)
    usable = [each for each in named if _is_whole(each, plan, codes=codes)]
    usable = _of_one_topology(usable, plan)
    if not usable:
        raise InputError(
            f"nothing can be released: {reasons(plan.missing)}", hint="reconstruct takes of people who consented"
        )
    splits = assign((each.item.pseudonym or "" for each in usable), rules, identity=identity, before=before)
    for each in usable:
        split = splits[each.item.pseudonym or ""]
        plan.planned.append(_with_components(replace(each, split=split), components, plan))
    plan.planned.sort(key=lambda each: (each.split, each.id))
    return plan


def _permitted(items: Sequence[Item], identity: Identity, previous: Release | None, plan: Plan) -> list[Item]:
    """Those whose people let their meshes out; the others are counted."""
    buried = {stone.subject for stone in previous.tombstones} if previous else set()
    out: Counter[str] = Counter()
    kept = []
    for item in items:
        reason = item.reason
        if reason is None and identity.subject(item.pseudonym or "") in buried:
            reason = NOT_AGAIN
        if reason is None and "mesh" not in item.scopes:
            reason = "consent does not cover mesh"
        if reason is None:
            kept.append(item)
        else:
            out[reason] += 1
    plan.missing += [MissingRow("", "", "", "all", reason, count) for reason, count in out.items()]
    return kept


def _refuse_unclear(items: Iterable[Item], plan: Plan, *, identity: Identity, previous: Release | None) -> None:
    """Raises InputError where somebody would be taken out for good because of what cannot be read."""
    leaving = previous.subjects.keys() - plan.permitted if previous else set()
    unclear = {
        f"{item.pseudonym}: {item.reason}"
        for item in items
        if item.reason in UNCLEAR and item.pseudonym and identity.subject(item.pseudonym) in leaving
    }
    if unclear:
        raise InputError(
            f"in the release before are people of whom nothing is known now: {'; '.join(sorted(unclear)[:20])}",
            hint="mend or restore what cannot be read; those who withdrew: mmface4d subject withdraw",
        )


def _named(items: list[Item], *, identity: Identity, previous: Release | None) -> list[Planned]:
    """New names: what was released before keeps its own, and nothing else ever gets it."""
    names = {row.token: row.id for row in previous.sequences} if previous else {}
    taken = set(names.values())
    pseudonyms = {item.pseudonym or "" for item in items}
    if len({identity.subject(name) for name in pseudonyms}) < len(pseudonyms):
        raise InputError("two subjects would get the same released name", hint="give one of them another pseudonym")
    found, sessions = [], {}
    # older sessions first, so that a new one takes no name away
    created = {session: _created(session) for session in {item.session for item in items}}
    for item in sorted(items, key=lambda item: (created[item.session], item.session.name)):
        sentence, subject = item.sentence, identity.subject(item.pseudonym or "")
        if sentence is None or item.take is None:
            continue
        token = identity.token(item.pseudonym or "", item.session.name, sentence.id)
        if (other := sessions.setdefault(token, item.session)) != item.session:
            raise InputError(
                f"{other} and {item.session} have the same name, and both have the sentence {sentence.id}",
                hint="give one of the folders another name, or move a copy out of the lab",
            )
        name = names.get(token) or _free(f"{subject}-{sentence.id.replace('.', '_')}", taken)
        taken.add(name)
        found.append(Planned(item, item.sequence or Path(), item.take, name, subject, token))
    return found


def _created(session: Path) -> str:
    value = read_json(session / RECORD)
    return str(value.get("created", "")) if isinstance(value, dict) else ""


def _free(wanted: str, taken: set[str]) -> str:
    name, number = wanted, 2
    while name in taken:
        name, number = f"{wanted}-{number}", number + 1
    return name


def _codes(items: Iterable[Item]) -> re.Pattern[str]:
    """Finds any pseudonym of the lab in a text."""
    names = sorted({re.escape(item.pseudonym) for item in items if item.pseudonym and not item.virtual})
    return re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(names)})(?![A-Za-z0-9])" if names else r"(?!)", re.IGNORECASE)


def _is_whole(each: Planned, plan: Plan, *, codes: re.Pattern[str]) -> bool:
    sentence = each.item.sentence
    # an id is searched as it is and in its parts: P07 stands in 12_P07_3
    said = [sentence.id, sentence.id.replace("_", " "), sentence.text] if sentence else []
    if any(codes.search(text) for text in said):
        plan.missing.append(MissingRow("", each.subject, "", "all", NO_CODES))
        return False
    if each.item.sequence is None:
        plan.missing.append(missing(each, "all", each.item.lacking or NOT_RECONSTRUCTED))
        return False
    return True


def _of_one_topology(named: list[Planned], plan: Plan) -> list[Planned]:
    """Those with the mesh that most have; the others are listed."""
    found = []
    for each in named:
        try:
            found.append(replace(each, topology=topology_of(load_sequence(each.sequence))))
        except InputError:
            plan.missing.append(missing(each, "all", "the sequence is damaged"))
    counts = Counter(each.topology for each in found if each.topology)
    if not counts:
        return []
    most = max(counts, key=lambda topology: (counts[topology], topology.model, topology.model_hash))
    plan.topology = most
    plan.missing += [missing(each, "all", "another topology") for each in found if each.topology != most]
    return [each for each in found if each.topology == most]


def _with_components(each: Planned, wanted: tuple[str, ...], plan: Plan) -> Planned:
    scopes, allowed, preview = each.item.scopes, [], False
    for component in (name for name in COMPONENTS if name in wanted):
        scope = SCOPE_OF[component]
        if scope in scopes:
            allowed.append(component)
        elif component == "rgb" and "publish-picture" in scopes:
            allowed.append(component)
            preview = True
            plan.missing.append(missing(each, component, "consent covers previews only"))
        else:
            plan.missing.append(missing(each, component, f"consent does not cover {scope}"))
    return replace(each, components=tuple(allowed), preview=preview)


def missing(each: Planned, component: str, reason: str) -> MissingRow:
    """A row of `missing.csv` about an item of somebody who may be named."""
    sentence = each.item.sentence
    return MissingRow(each.id, each.subject, sentence.id if sentence else "", component, reason)


def reasons(rows: Iterable[MissingRow]) -> str:
    """Each reason with how often it holds."""
    counts: Counter[str] = Counter()
    for row in rows:
        counts[row.reason] += row.count
    return "; ".join(f"{reason}: {count}" for reason, count in sorted(counts.items())) or "no take was kept"
