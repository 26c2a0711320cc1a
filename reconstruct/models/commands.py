"""`mmface4d model`: the library of morphable models."""

import json
from pathlib import Path
from typing import Any

import click


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="\b\nExamples:\n  mmface4d model add ict ~/ICT-FaceKit/FaceXModel\n  mmface4d model show ict -o ict.png",
)
def model() -> None:
    """List, add and show morphable models."""


@model.command("list", epilog="\b\nExamples:\n  mmface4d model list\n  mmface4d model list --json")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_command(as_json: bool) -> None:
    """List the models that `--model NAME` can name."""
    from reconstruct.models.library import list_models

    cards = [_plain(card) for card in list_models()]
    if as_json:
        click.echo(json.dumps(cards, indent=1))
        return
    click.echo(f"{'name':16}{'vertices':>9}{'identity':>9}{'expression':>11}{'texture':>8}  source")
    for card in cards:
        counts = f"{card['vertices']:9}{card['identities']:9}{card['expressions']:11}{card['textures']:8}"
        click.echo(f"{card['name']:16}{counts}  {card['problem'] or card['source']}")


@model.command(
    "add",
    epilog="\b\nExamples:\n  mmface4d model add ict ~/ICT-FaceKit/FaceXModel\n"
    "  mmface4d model add bfm2009 BFM_model_front.mat --name bfm",
)
@click.argument("kind", type=click.Choice(["ict", "bfm2009", "flame"]))
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--name", help="Name in the library.  [default: the kind]")
@click.option("--region", type=click.Choice(["face", "head"]), default="face", show_default=True, help="What to keep.")
def add_command(kind: str, path: Path, name: str | None, region: str) -> None:
    """Convert a model once and keep it in the library.

    PATH is ICT-FaceKit's folder FaceXModel, Deng et al.'s BFM_model_front.mat, or FLAME's generic_model.pkl.
    """
    from reconstruct.models.library import add_model

    card = add_model(kind, path, name=name, region=region)
    click.echo(
        f"added {card.name}: {card.vertices} vertices, {card.identities} identity and {card.expressions} expression "
        f"shapes, {card.landmarks} landmarks -> {card.path}"
    )


@model.command("show", epilog="\b\nExamples:\n  mmface4d model show canonical\n  mmface4d model show ict -o ict.png")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Also draw a picture (PNG).")
def show_command(name: str, as_json: bool, output: Path | None) -> None:
    """Show one model's details; with -o a picture of its mean, landmarks, regions and expressions."""
    from reconstruct.models.library import load_model, model_path

    loaded = load_model(name)
    details = _details(loaded) | {"path": None if name == "canonical" else str(model_path(name))}
    if output:
        from reconstruct.models.picture import draw_model

        draw_model(loaded, output)
        details["picture"] = str(output)
    if as_json:
        click.echo(json.dumps(details, indent=1))
        return
    for key, value in details.items():
        items = [f"{k} {v}" for k, v in value.items()] if isinstance(value, dict) else value
        click.echo(f"{key:12} {', '.join(map(str, items)) if isinstance(items, list) else items}")


def _plain(card: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return {k: str(v) if isinstance(v, Path) else v for k, v in asdict(card).items()}


def _details(model: Any) -> dict[str, Any]:
    from collections import Counter

    return {
        "name": model.name,
        "source": model.source,
        "vertices": model.vertex_count,
        "triangles": len(model.faces),
        "size_mm": [round(float(x) * 1000) for x in model.mean.max(0) - model.mean.min(0)],
        "identities": len(model.identity_basis),
        "expressions": list(model.expression_names),
        "textures": 0 if model.texture_basis is None else len(model.texture_basis),
        "landmarks": dict(Counter(model.landmarks.group)),
        "regions": {name: int(mask.sum()) for name, mask in model.regions.items()},
        "hash": model.content_hash,
    }
