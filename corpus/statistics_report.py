"""The statistics of a corpus for people: lines for the terminal, and a page with figures."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from corpus import charts
from corpus.statistics import LanguageStatistics, PartStatistics, spread
from mmface4d.page import markup
from mmface4d.page.page import write_page

LANGUAGE_NAMES = {"zh": "Chinese", "en": "English"}
MOST_NAMED = 12
MOST_DRAWN = 120  # of sounds, where no list of them is kept
NO_LIST = "no list of its sounds is kept"


def statistics_text(shown: dict[str, Any]) -> str:
    """What `corpus_json` gave, in some lines a language."""
    return "\n".join(line for name, of in shown["languages"].items() for line in _language_lines(name, of))


def _language_lines(name: str, of: dict[str, Any]) -> Iterator[str]:
    unit = "words" if "length_words" in of else "characters"
    lengths, seconds = of[f"length_{unit}"], of["length_s"]
    yield f"{name}: {of['sentences']:,} sentences"
    yield "  " + ", ".join(f"{part['sentences']:,} {emotion}" for emotion, part in of["emotions"].items())
    yield "  " + ", ".join(f"{count:,} {scenario}" for scenario, count in of["scenarios"].items())
    yield (
        f"  {lengths['smallest']}-{lengths['largest']} {unit}, {lengths['mean']:.1f} on average; "
        f"about {seconds['smallest']:.1f}-{seconds['largest']:.1f} s, median {seconds['median']:.1f} s"
    )
    yield (
        f"  phonemes: {of['phoneme_entropy_bits']:.2f} of at most {of['max_phoneme_entropy_bits']:.2f} bits; "
        f"diphones: {of['diphone_kinds']:,} kinds, {of['diphone_entropy_bits']:.2f} bits"
    )
    yield f"  missing: {_named(of['missing']) or ('none' if of['inventory'] else NO_LIST)}"
    yield "  least covered: " + ", ".join(f"{unit} {count}" for unit, count in of["least_covered"].items())
    yield f"  about {_duration(of['speaking_time_s'])} of speech, {_duration(of['recording_time_s'])} to record"


def write_statistics_report(path: Path, languages: Sequence[LanguageStatistics], *, name: str) -> None:
    """Writes the page; it needs nothing beside it."""
    total = sum(each.whole.sentences for each in languages)
    parts = [_verdict(languages), _cards(languages)]
    for each in languages:
        title = LANGUAGE_NAMES.get(each.language, each.language)
        parts += [markup.part(title) if len(languages) > 1 else "", *_sections(each)]
    write_page(path, title=f"Corpus {name}", subtitle=_subtitle(languages, total), parts=parts)


def _subtitle(languages: Sequence[LanguageStatistics], total: int) -> str:
    names = ", ".join(LANGUAGE_NAMES.get(each.language, each.language) for each in languages)
    return f"{total:,} sentences · {names} · times are estimated"


def _verdict(languages: Sequence[LanguageStatistics]) -> str:
    listed = [each for each in languages if each.whole.coverage.inventory]
    unlisted = [each.language for each in languages if each not in listed]
    notes = [f"{', '.join(unlisted)}: {NO_LIST}."] if unlisted else []
    if not listed:
        return markup.verdict("look", "Look at the sounds yourself", notes[0])
    gaps = [f"{each.language} lacks {_named(each.whole.coverage.missing)}" for each in listed if _lacks(each.whole)]
    if gaps:
        return markup.verdict("look", "Some sounds are missing", " ".join([f"{'; '.join(gaps)}.", *notes]))
    thin = [
        f"{each.language} {emotion}: {_named(part.coverage.missing)}"
        for each in listed
        for emotion, part in each.by_emotion.items()
        if _lacks(part)
    ]
    text = f"But not with every emotion: {'; '.join(thin)}." if thin else "With every emotion there is."
    return markup.verdict("good", "Every sound occurs", " ".join([text, *notes]))


def _lacks(part: PartStatistics) -> bool:
    return bool(part.coverage.missing)


def _cards(languages: Sequence[LanguageStatistics]) -> str:
    items = [("sentences", f"{sum(each.whole.sentences for each in languages):,}")]
    items.append(("of speech, about", _duration(sum(each.whole.speaking_time_s for each in languages))))
    items.append(("to record all of it once, about", _duration(sum(each.recording_time_s for each in languages))))
    for each in languages:
        sounds = each.whole.coverage
        most = sounds.max_phoneme_entropy_bits
        items.append(
            (f"bits of {most:.2f} that even phonemes had, {each.language}", f"{sounds.phoneme_entropy_bits:.2f}")
        )
    return markup.cards(items)


def _sections(shown: LanguageStatistics) -> list[str]:
    whole, sounds = shown.whole, shown.whole.coverage
    plots = [
        _plot("Sentences by emotion", charts.emotion_bars(shown.counts) + _scenario_key(shown)),
        _plot(f"Length in {shown.length_unit}", charts.histogram(whole.lengths, unit=shown.length_unit)),
        _plot("Length in seconds, estimated", charts.histogram(whole.seconds, unit="s")),
    ]
    if sounds.tones:
        plots.append(_plot("Tones, 5 is the neutral one", charts.tone_bars(sounds.tones)))
    return [
        markup.section("Sentences", _length_words(shown), f'<div class="plots">{"".join(plots)}</div>'),
        _sounds(shown),
        _pairs(shown),
        markup.section("By emotion", "Every emotion should have all sounds.", _emotion_table(shown)),
        _rarest(shown),
    ]


def _length_words(shown: LanguageStatistics) -> str:
    lengths, seconds = spread(shown.whole.lengths), spread(shown.whole.seconds)
    return (
        f"{lengths.mean:.1f} {shown.length_unit} on average ({lengths.smallest:g} to {lengths.largest:g}); "
        f"{seconds.median:.1f} s in the median ({seconds.smallest:.1f} to {seconds.largest:.1f} s)."
    )


def _scenario_key(shown: LanguageStatistics) -> str:
    entries = ((opacity, f"{name} {shown.scenarios[name]:,}") for name, opacity in charts.SCENARIO_OPACITY.items())
    return markup.key((f"rgba(31,35,40,{opacity})", words) for opacity, words in entries)


def _plot(title: str, content: str) -> str:
    return f"<div><h3>{markup.escape(title)}</h3>{content}</div>"


def _sounds(shown: LanguageStatistics) -> str:
    sounds = shown.whole.coverage
    bits, most = sounds.phoneme_entropy_bits, sounds.max_phoneme_entropy_bits
    lead = (
        f"{sum(sounds.phonemes.values()):,} in all, {len(sounds.phonemes)} kinds. Their entropy is {bits:.2f} bits; "
        f"{most:.2f} if all were equally frequent. Yellow: less than a tenth of that. Red: missing."
    )
    content = charts.unit_bars(sounds.phonemes, inventory=_drawn(shown))
    if sounds.foreign:
        named = ", ".join(f"{unit} {count}" for unit, count in sounds.foreign.most_common(MOST_NAMED))
        content += f'<p class="soft">Beside them, mostly in names from elsewhere: {markup.escape(named)}.</p>'
    return markup.section("Phonemes", lead, content)


def _pairs(shown: LanguageStatistics) -> str:
    sounds = shown.whole.coverage
    lead = (
        f"{len(sounds.diphones):,} kinds of pairs, {sounds.diphone_entropy_bits:.2f} bits. Rows: the first of two "
        "sounds, columns: the one that follows."
    )
    return markup.section("Diphones", lead, charts.pair_map(sounds.diphones, _drawn(shown)))


def _drawn(shown: LanguageStatistics) -> Sequence[str]:
    sounds = shown.whole.coverage
    return sounds.inventory or [unit for unit, _ in sounds.phonemes.most_common(MOST_DRAWN)]


def _emotion_table(shown: LanguageStatistics) -> str:
    head = ("emotion", "sentences", shown.length_unit, "median", "speech", "phonemes", "diphones", "missing")
    rows = [(emotion, *_part_row(part)) for emotion, part in shown.by_emotion.items()]
    return markup.table(head, [*rows, ("all", *_part_row(shown.whole))])


def _part_row(part: PartStatistics) -> tuple[str, ...]:
    sounds = part.coverage
    return (
        f"{part.sentences:,}",
        f"{spread(part.lengths).mean:.1f}",
        f"{spread(part.seconds).median:.1f} s",
        _duration(part.speaking_time_s),
        f"{sounds.phoneme_entropy_bits:.3f} bits",
        f"{len(sounds.diphones):,} kinds, {sounds.diphone_entropy_bits:.2f} bits",
        _named(sounds.missing) or "none",
    )


def _rarest(shown: LanguageStatistics) -> str:
    sounds = shown.whole.coverage
    even = sum(sounds.phonemes.values()) / max(len(sounds.inventory or sounds.phonemes), 1)
    rows = [
        (unit, str(count), f"{count / max(even, 1e-9):.0%}", shown.examples.get(unit, ""))
        for unit, count in sounds.least_covered()
    ]
    lead = "More sentences with these would help most."
    return markup.section("Least covered", lead, markup.table(("phoneme", "times", "of an even share", "as in"), rows))


def _named(units: Sequence[str]) -> str:
    more = f" and {len(units) - MOST_NAMED} more" if len(units) > MOST_NAMED else ""
    return " ".join(units[:MOST_NAMED]) + more


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{seconds / 3600:.1f} h"
