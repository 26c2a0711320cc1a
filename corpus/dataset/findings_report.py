"""The statistics of a data set for people: lines for the terminal, and a page with figures."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from corpus.charts import EMOTION_INKS, histogram
from corpus.dataset import figures
from corpus.dataset.findings import LIPS, Findings, expressiveness, group_matrix
from corpus.dataset.motion import Yardstick
from corpus.dataset.regions import NO_PART, PARTS, REGION_NAMES, FaceRegions
from corpus.dataset.summary import COMPARED, EDGE, NEUTRAL, UNKNOWN, Graph, Speeds
from corpus.statistics import spread
from mmface4d.page import markup
from mmface4d.page.face_picture import FacePicture, data_uri
from mmface4d.page.face_picture import figure as face_figure
from mmface4d.page.heat import warm, warm_scale
from mmface4d.page.page import write_page
from mmface4d.page.svg import nice
from mmface4d.sequence import STATUS

SHOWN = ("lips", "jaw", "cheeks", "nose", "eyes", "brows", "forehead", "face")
MOST_NAMED, MOST_SUBJECTS, MOST_MARKS = 24, 200, 4000
# m/frame that the paper prints, with neither unit nor axis
PUBLISHED = "MMFace4D 0.0025, MeshTalk 0.0016, VOCASET 0.0011"


def findings_text(found: Findings) -> str:
    """The main numbers in some lines."""
    return "\n".join(_lines(found))


def _lines(found: Findings) -> Iterator[str]:
    motions = found.motions
    seconds = spread([each.duration_s for each in motions])
    yield f"{found.name}: {_counted(found)}"
    yield (
        f"  {seconds.smallest:.1f}-{seconds.largest:.1f} s, median {seconds.median:.1f} s, "
        f"{_time(sum(each.duration_s for each in motions))} in all"
    )
    usable, frames = sum(each.usable for each in motions), sum(each.frames for each in motions)
    yield f"  frames: {frames:,}, of which {frames - usable:,} are left out"
    for reason, count in found.left_out.most_common():
        yield f"  left out: {count} {reason}"
    for reason in found.failures[:MOST_NAMED]:
        yield f"  failed: {reason}"
    if found.whole is not None:
        yield "  mean speed in mm/s      x      y      z  length"
        for region in SHOWN:
            x, y, z = found.whole.of(region)
            length = found.whole.length_mm_s[REGION_NAMES.index(region)]
            yield f"  {region:17s} {x:8.2f}{y:7.2f}{z:7.2f}{length:8.2f}"
    if found.style is not None:
        yield f"  lips: {found.style:.0%} of the variance lies between subjects"
    for graph in found.graphs:
        names, values = group_matrix(graph, found.yardsticks[graph.model])
        mouth, brows = names.index("lower_lip"), names.index("brows")
        yield (
            f"  {graph.model}: {len(graph.edges)} pairs of {len(graph.correlation)} small regions move together; "
            f"lower lip and jaw {_value(values[mouth, names.index('jaw')])}, "
            f"lower lip and brows {_value(values[mouth, brows])}"
        )


def write_findings_report(path: Path, found: Findings) -> None:
    """Writes the page; it needs nothing beside it."""
    faces = {model: _picture(by.regions, by.parcels.parcel_of) for model, by in found.yardsticks.items()}
    parts = [
        _verdict(found), _cards(found), _speed_section(found), _style_section(found), _groups_section(found),
        _expressiveness_section(found, faces),
        *(_graph_section(found, each, faces[each.model]) for each in found.graphs),
        _people_section(found), _frames_section(found),
    ]  # fmt: skip
    write_page(path, title=f"Statistics of {found.name}", subtitle=_counted(found), parts=parts)


def _counted(found: Findings) -> str:
    sequences, people = len(found.motions), len(found.people)
    models = ", ".join(sorted({each.model for each in found.motions}))
    rates = " and ".join(f"{fps:g}" for fps in sorted({round(each.fps, 2) for each in found.motions}))
    of_people = f" of {_plural(people, 'subject')}" if people else ""
    return f"{_plural(sequences, 'sequence')}{of_people} · model {models} · {rates} frames a second"


def _verdict(found: Findings) -> str:
    notes = [f"{count} {reason}" for reason, count in found.left_out.most_common()]
    if found.failures:
        notes.insert(0, f"{len(found.failures)} could not be measured, see the end")
    if notes:
        return markup.verdict("look", "Not all that was recorded is in here", "; ".join(notes) + ".")
    return markup.verdict("good", "Everything is in here", "Every sequence was found and measured.")


def _cards(found: Findings) -> str:
    motions = found.motions
    items = [
        ("sequences", f"{len(motions):,}"),
        ("of motion", _time(sum(each.duration_s for each in motions))),
        ("median length", f"{spread([each.duration_s for each in motions]).median:.1f} s"),
    ]
    if found.people:
        items.insert(1, ("subjects", f"{len(found.people):,}"))
    if found.whole is not None:
        items.append(("mean speed of the lips", f"{found.whole.length_mm_s[LIPS]:.1f} mm/s"))
    if found.style is not None:
        items.append(("of the lips' style lies between subjects", f"{found.style:.0%}"))
    return markup.cards(items)


def _speed_section(found: Findings) -> str:
    if found.whole is None:
        return ""
    rows = [REGION_NAMES.index(region) for region in SHOWN]
    axes = markup.key(zip(figures.AXIS_INKS, figures.AXIS_WORDS, strict=True))
    bars = figures.speed_bars(SHOWN, found.whole.speed_mm_s[rows])
    by = found.yardsticks[_main_model(found)]
    lengths = [float(found.whole.length_mm_s[REGION_NAMES.index(part)]) for part in PARTS]
    top = nice(max(lengths))
    picture = _picture(by.regions, by.regions.part_of).painted([warm(each / top) for each in lengths])
    content = (
        f'<div class="plots"><div>{axes}{bars}</div><div style="max-width:420px;margin:0 auto">'
        f"{face_figure(picture)}{warm_scale(top, 'mm/s')}</div></div>"
        + markup.folded("All regions, in mm/s and metres a frame", _speed_table(found.whole))
    )
    lead = (
        "Mean absolute speed of the vertices of a region along the axes of the head, whose own motion is taken out; on "
        "the right the mean length of the motion of each part."
    )
    return markup.section("How fast the face moves", lead, content)


def _speed_table(whole: Speeds) -> str:
    head = ("region", "x, mm/s", "y, mm/s", "z, mm/s", "length, mm/s", "x, m/frame", "y, m/frame", "z, m/frame")
    rows = [
        (
            name.replace("_", " "),
            *(f"{each:.2f}" for each in whole.speed_mm_s[row]),
            f"{whole.length_mm_s[row]:.2f}",
            *(f"{each:.6f}" for each in whole.step_m[row]),
        )
        for row, name in enumerate(REGION_NAMES)
    ]
    note = (
        f"The MMFace4D paper prints {PUBLISHED}, without a unit and at different frame rates. They are given for "
        "reference and compare with nothing here."
    )
    return markup.table(head, rows) + f'<p class="soft" style="margin-top:10px">{markup.escape(note)}</p>'


def _main_model(found: Findings) -> str:
    return Counter(each.model for each in found.motions).most_common(1)[0][0]


def _style_section(found: Findings) -> str:
    points = [
        (
            each.recording.subject or UNKNOWN,
            _label(each.recording.name, each.recording.emotion),
            each.motion.speed_mm_s[LIPS],
        )
        for each in found.surveyed
        if each.motion is not None and each.motion.steps
    ]
    if len(points) < 2 or not set(found.subjects) - {UNKNOWN}:
        return ""
    subjects = [name for name in found.subjects if name != UNKNOWN]
    inks = figures.subject_inks(subjects)
    every = -(-len(points) // MOST_MARKS)
    drawn = [(subject, f"{subject}, {words}", values.tolist()) for subject, words, values in points[::every]]
    plots = [figures.style_scatter(drawn, inks, axes=axes) for axes in ((0, 1), (2, 1))]
    named = markup.key((inks[name], name) for name in subjects[:MOST_NAMED])
    more = f"and {len(subjects) - MOST_NAMED} more" if len(subjects) > MOST_NAMED else ""
    content = f"<p>{named}{more}</p>" + f'<div class="plots">{"".join(f"<div>{each}</div>" for each in plots)}</div>'
    share = "" if found.style is None else f" {found.style:.0%} of the variance lies between subjects."
    lead = f"A mark is a sequence, its colour the subject: who speaks alike lies together.{share}"
    lead += f" One in {every} is drawn." if every > 1 else ""
    return markup.section("Speaking style of the lips", lead, content)


def _label(name: str, emotion: str | None) -> str:
    return f"{name}, {emotion}" if emotion else name


def _groups_section(found: Findings) -> str:
    head = ("", "sequences", *(f"{region}, mm/s" for region in SHOWN))
    tables = []
    if set(found.emotions) - {UNKNOWN}:
        tables.append("<h3>By emotion</h3>" + markup.table(head, _group_rows(found.emotions)))
    if set(found.subjects) - {UNKNOWN}:
        shown = dict(list(found.subjects.items())[:MOST_SUBJECTS])
        table = markup.table(head, _group_rows(shown))
        more = len(found.subjects) - len(shown)
        note = f'<p class="soft">{more} more are in the JSON.</p>' if more else ""
        tables.append(markup.folded("By subject", table + note))
    lead = "Mean length of the motion, head motion taken out."
    return markup.section("Speeds by emotion and subject", lead, "".join(tables)) if tables else ""


def _group_rows(groups: dict[str, Speeds]) -> Iterator[tuple[str, ...]]:
    for name, each in groups.items():
        lengths = (each.length_mm_s[REGION_NAMES.index(region)] for region in SHOWN)
        yield (name, f"{each.sequences:,}", *(f"{length:.2f}" for length in lengths))


def _expressiveness_section(found: Findings, faces: dict[str, FacePicture]) -> str:
    emotions = {each.emotion for each in found.expressed}
    if not emotions - {NEUTRAL}:
        return ""
    table = expressiveness(found.expressed)
    shift = figures.ranges(_without_neutral(table["shift_mm"]), unit="mm")
    ratio = figures.ranges(_without_neutral(table["speed_ratio"]), unit="times", line_at=1.0)
    content = (
        _shift_faces(found, faces)
        + '<div class="plots" style="margin-top:18px">'
        + f"<div><h3>How far it is held from neutral</h3>{shift}</div>"
        + f"<div><h3>How many times as fast as neutral it moves</h3>{ratio}</div></div>"
    )
    lead = (
        "Every sequence against the neutral ones of the same subject: dots are medians over sequences, bars reach from "
        "quartile to quartile. On the faces, the median distance of each small region from its neutral place."
    )
    return markup.section("Expressiveness by emotion", lead, content)


def _without_neutral(rows: dict[str, dict[str, tuple[float, float, float]]]) -> dict:
    return {
        region: {emotion: row[emotion] for emotion in EMOTION_INKS if emotion in row and emotion != NEUTRAL}
        for region, row in rows.items()
        if region in COMPARED
    }


def _shift_faces(found: Findings, faces: dict[str, FacePicture]) -> str:
    """A small face for each emotion, its small regions coloured by how far they are held from neutral."""
    model = _main_model(found)
    medians = {}
    for emotion in EMOTION_INKS:
        shifts = [one.parcel_shift_mm for one in found.expressed if (one.model, one.emotion) == (model, emotion)]
        if shifts and emotion != NEUTRAL:
            medians[emotion] = np.median(shifts, axis=0)
    if not medians:
        return ""
    top = nice(max(float(each.max()) for each in medians.values()))
    drawn = "".join(
        f'<div style="text-align:center">{face_figure(_heat(faces[model], each / top))}<h3 style="margin:2px 0 0">'
        f"{markup.escape(emotion)}</h3></div>"
        for emotion, each in medians.items()
    )
    each_wide = f"repeat({len(medians)},minmax(0,190px))"
    columns = f"display:grid;grid-template-columns:{each_wide};gap:10px;justify-content:center"
    return f'<div style="{columns}">{drawn}</div>{warm_scale(top, "mm")}'


def _heat(picture: FacePicture, shares: np.ndarray) -> np.ndarray:
    return picture.painted([warm(float(each)) for each in shares], seams=False)


def _picture(regions: FaceRegions, label_of: np.ndarray) -> FacePicture:
    inside = regions.part_of != NO_PART
    return FacePicture(regions.template, regions.faces, label_of=label_of, inside=inside)


def _graph_section(found: Findings, graph: Graph, picture: FacePicture) -> str:
    by = found.yardsticks[graph.model]
    ground = data_uri(picture.painted([None] * len(by.parcels)))
    drawn = figures.graph_on_face(ground, picture.project(_centres(by)), graph.edges, by.parcels.names, lowest=EDGE)
    names, values = group_matrix(graph, by)
    content = (
        '<div class="plots"><div style="max-width:480px;margin:0 auto">'
        f"{drawn}</div><div><h3>Mean between groups of small regions</h3>{figures.part_matrix(names, values)}"
        f'<p class="soft">Darker and thicker lines are stronger; {len(graph.edges):,} of '
        f"{len(graph.correlation) * (len(graph.correlation) - 1) // 2:,} pairs are drawn.</p></div></div>"
    )
    lead = (
        f"{len(graph.correlation)} small regions of the face, {_plural(graph.sequences, 'sequence')}. Two are joined "
        f"where their motions correlate by {EDGE} or more: the mean over the axes of Pearson's correlation over time "
        "between their frame-to-frame displacements, mean over sequences. The halves of a mouth move sideways against "
        "each other, so that few lines cross the middle."
    )
    several = f", {graph.model}" if len(found.graphs) > 1 else ""
    return markup.section(f"What moves together{several}", lead, content)


def _centres(by: Yardstick) -> np.ndarray:
    return by.parcels.means(by.regions.template[None].astype(np.float64))[0]


def _people_section(found: Findings) -> str:
    durations = [float(each.duration_s) for each in found.motions]
    plots = [("Length of sequences", histogram(durations, unit="s"))]
    ages = [each.age for each in found.people]
    numbers = [age for age in ages if isinstance(age, int)]
    bands = Counter(age for age in ages if isinstance(age, str))
    genders = Counter(each.gender or UNKNOWN for each in found.people)
    emotions = Counter(each.recording.emotion or UNKNOWN for each in found.surveyed if each.motion)
    if numbers:
        plots.append((f"Ages of subjects, median {spread(numbers).median:g}", histogram(numbers, unit="years")))
    if bands:
        plots.append(("Ages of subjects", figures.count_bars(dict(sorted(bands.items())))))
    if set(genders) - {UNKNOWN}:
        plots.append(("Genders of subjects", figures.count_bars(dict(genders.most_common()))))
    if set(emotions) - {UNKNOWN}:
        ordered = {name: emotions[name] for name in (*EMOTION_INKS, UNKNOWN) if name in emotions}
        plots.append(("Sequences by emotion", figures.count_bars(ordered, EMOTION_INKS)))
    content = "".join(f"<div><h3>{markup.escape(title)}</h3>{plot}</div>" for title, plot in plots)
    columns = "grid-template-columns:repeat(auto-fit,minmax(420px,540px))"  # a single one stays small
    seconds = spread(durations)
    lead = f"{seconds.smallest:.1f} to {seconds.largest:.1f} s, median {seconds.median:.1f} s."
    return markup.section(
        "Durations and people" if found.people else "Durations",
        lead,
        f'<div class="plots" style="{columns}">{content}</div>',
    )


def _frames_section(found: Findings) -> str:
    counts, frames = found.frames_by_status, sum(each.frames for each in found.motions)
    rows = [(STATUS[code], f"{count:,}", f"{count / frames:.2%}") for code, count in sorted(counts.items())]
    residuals = [each.steady_residual_m * 1000 for each in found.motions]
    lead = (
        "Only frames with the status ok or with some cameras missing are measured. The head's rigid motion leaves "
        f"{np.median(residuals):.2f} mm on forehead, temples and nose (median over sequences, RMS)."
    )
    content = markup.table(("status", "frames", "share"), rows)
    if found.failures:
        shown = found.failures[:MOST_NAMED]
        more = [f"and {len(found.failures) - len(shown)} more"] if len(found.failures) > len(shown) else []
        content += "<h3>Sequences that could not be measured</h3>" + markup.bullets([*shown, *more])
    return markup.section("Frames", lead, content)


def _plural(count: int, what: str) -> str:
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _value(value: float) -> str:
    return figures.signed(value) if np.isfinite(value) else "unknown"
