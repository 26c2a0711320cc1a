"""Sequences' values brought together: means as each metric pools them, spread over seeds, and intervals."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from animation.data.corpus import Mask
from animation.metrics.bootstrap import bootstrap
from animation.metrics.definitions import POOLING_WORDS, Definition
from animation.metrics.errors import Share, mean_share, pooled
from animation.metrics.report import ClipScore, Number


def numbers_of(
    scores: Sequence[ClipScore], definitions: Sequence[Definition], masks: Mapping[str, Mask]
) -> tuple[Number, ...]:
    """Every metric under every protocol of the scores, in the order in which protocols come up."""
    by_protocol: dict[str, list[ClipScore]] = defaultdict(list)
    for score in scores:
        by_protocol[score.protocol].append(score)
    return tuple(
        _number(definition, some, masks[definition.mask]) for some in by_protocol.values() for definition in definitions
    )


def _number(definition: Definition, scores: Sequence[ClipScore], mask: Mask) -> Number:
    seeds = sorted({score.seed for score in scores})
    of_seeds = [pooled([_share(s, definition.name) for s in scores if s.seed == seed]) for seed in seeds]
    clips, shares = _over_seeds(scores, definition.name)
    value = pooled(shares)
    measured = bool(np.isfinite(value))
    return Number(
        metric=definition.name,
        title=definition.title,
        value=value if measured else None,
        unit=definition.unit,
        mask=mask.name,
        mask_sha256=mask.sha256,
        mask_vertices=len(mask.vertices),
        pooling=POOLING_WORDS[definition.pooling],
        source=definition.source,
        protocol=scores[0].protocol,
        n_frames=sum(clip.n_frames for clip in clips),
        n_sequences=len(clips),
        n_subjects=len({clip.subject for clip in clips}),
        seeds=tuple(seeds),
        sd_over_seeds=float(np.std(of_seeds, ddof=1)) if measured and len(seeds) > 1 else None,
        interval=bootstrap(shares) if measured else None,
        interval_over_subjects=bootstrap(shares, groups=[clip.subject for clip in clips]) if measured else None,
    )


def _over_seeds(scores: Sequence[ClipScore], metric: str) -> tuple[list[ClipScore], list[Share]]:
    """One score of each sequence, and its share as the mean over the seeds; those that give nothing are left out.

    A sequence's weight does not depend on the seed, so that the pooled mean of these is the mean over the seeds.
    """
    of_clip: dict[str, list[ClipScore]] = defaultdict(list)
    for score in scores:
        of_clip[score.clip].append(score)
    shares = [mean_share([score.shares[metric] for score in some]) for some in of_clip.values()]
    giving = [(some[0], share) for some, share in zip(of_clip.values(), shares, strict=True) if share]
    return [score for score, _ in giving], [share for _, share in giving]


def _share(score: ClipScore, metric: str) -> Share:
    return Share(*score.shares[metric])
