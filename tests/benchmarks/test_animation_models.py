"""The race of the animation models: its sums are right, and its references are what they say."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from animation.data.synthetic.corpus import Cast

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
LIP = {"audio2face": 2.0, "faceformer": 4.0, "meshtalk": 5.0, "without composite": 3.0, "without regional": 2.0}
SECONDS = {
    "audio2face": 50.0,
    "faceformer": 98.0,
    "meshtalk": 100.0,
    "without composite": 40.0,
    "without regional": 50.0,
}


@pytest.fixture(scope="module")
def race() -> Iterator[Any]:
    """The script, which finds its neighbours as scripts do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield importlib.import_module("animation_models")


def runs(race: Any) -> list[dict[str, Any]]:
    """Of two seeds, of which the second is everywhere a tenth worse."""
    return [
        {
            "of": name, "seed": seed, "updates": 400, "cpu_seconds": SECONDS[name],
            "overlap": 0.9 if name == "without regional" else 0.3,
            "errors": {
                protocol: dict.fromkeys(race.METRICS, lip * (1 + 0.1 * seed))
                for protocol in (race.FAIR, race.ORACLE, race.STRANGER)
            },
        }
        for name, lip in LIP.items()
        for seed in range(2)
    ]  # fmt: skip


def test_tables_and_margins(race: Any) -> None:
    found = race.table(runs(race))["audio2face"][race.FAIR]["lip_max"]
    assert found["mean"] == pytest.approx(2.1)
    assert found["sd"] == pytest.approx(0.1414, abs=1e-4)
    margins = race.margins(runs(race), race.RIVALS)
    assert margins["faceformer"]["lip_max"] == {"mean": 0.5, "sd": 0.0, "paper": 0.183, "reached": True}
    assert margins["meshtalk"]["lip_mean"]["mean"] == pytest.approx(0.6)


def test_ablations(race: Any) -> None:
    found = race.ablations(runs(race))
    assert found["without composite is worse by"]["lip_max"]["mean"] == pytest.approx(0.5)
    assert found["without composite, lip_max reached"]
    assert found["overlap without, times"]["mean"] == pytest.approx(3.0)
    assert found["without regional is worse by"]["face_max"]["mean"] == 0.0


def test_equal_time_gives_the_quicker_more_updates(race: Any) -> None:
    again = race.equal_time(runs(race), updates=400)
    assert [(who.name, seed, updates) for who, seed, updates in again] == [
        ("audio2face", 0, 800), ("audio2face", 1, 800),
    ]  # fmt: skip
    longer = [{**each, "updates": 800} for each in runs(race) if each["of"] == "audio2face"]
    raced = race.with_longer(runs(race), longer)
    assert sorted((each["of"], each["updates"]) for each in raced if each["seed"] == 1) == [
        ("audio2face", 800), ("faceformer", 400), ("meshtalk", 400),
    ]  # fmt: skip


def test_references_are_worse_for_an_average_person_than_for_the_own_manner(race: Any) -> None:
    found = race.references(Cast(subjects=6, sentences=2, n_verts=120))
    assert set(found["own manner"]) == set(race.METRICS)
    assert all(found["average person"][metric] > 2 * found["own manner"][metric] for metric in race.METRICS)


def test_the_tables_show_every_number_once(race: Any) -> None:
    errors = dict.fromkeys(race.METRICS, 6.0)
    found = {
        "still": errors, "references": {"average person": errors},
        **{kind: race.table(runs(race)) for kind in ("equal updates", "equal time")},
        **{f"margins at {kind}": race.margins(runs(race), race.RIVALS) for kind in ("equal updates", "equal time")},
        "ablations": race.ablations(runs(race)),
    }  # fmt: skip
    lines = race.markdown(found).splitlines()
    assert "| *still* |  |  | 6.00 | 6.00 | 6.00 | 6.00 |" in lines
    assert "| audio2face, equal time | 400 | 50 | 2.10 ± 0.14 | 2.10 ± 0.14 | 2.10 ± 0.14 | 2.10 ± 0.14 |" in lines
    assert (
        "| faceformer, equal updates | 50.0 ± 0.0 (18) | 50.0 ± 0.0 (26) | 50.0 ± 0.0 (21) | 50.0 ± 0.0 (19) |" in lines
    )
    assert len({line.count("|") for line in lines if line.startswith("| ") and "without" in line}) == 2


def test_one_seed_has_no_spread(race: Any) -> None:
    one = [each for each in runs(race) if each["seed"] == 0]
    errors = dict.fromkeys(race.METRICS, 6.0)
    found = {
        "still": errors, "references": {},
        **{kind: race.table(one) for kind in ("equal updates", "equal time")},
        **{f"margins at {kind}": race.margins(one, race.RIVALS) for kind in ("equal updates", "equal time")},
        "ablations": race.ablations(one),
    }  # fmt: skip
    assert race.table(one)["audio2face"][race.FAIR]["lip_max"] == {"mean": 2.0, "sd": None}
    lines = race.markdown(found).splitlines()
    assert "| audio2face, equal time | 400 | 50 | 2.00 | 2.00 | 2.00 | 2.00 |" in lines
    assert not any("±" in line for line in lines if line.startswith("|"))


def test_a_folder_of_other_settings_is_refused(race: Any, tmp_path: Path) -> None:
    race.same_settings(tmp_path / "work", {"rate": 1e-3, "crop": 60})
    race.same_settings(tmp_path / "work", {"crop": 60, "rate": 1e-3})
    with pytest.raises(click.ClickException, match="other settings"):
        race.same_settings(tmp_path / "work", {"rate": 2e-3, "crop": 60})


def test_runs_of_another_rate_are_not_mixed_with_these(race: Any, tmp_path: Path) -> None:
    race.same_settings(tmp_path, {})
    done = CliRunner().invoke(race.main, [str(tmp_path), "--rate", "0.1"])
    assert done.exit_code == 1
    assert "other settings" in done.output
