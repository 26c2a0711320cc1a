"""Audio encoders by name."""

from animation.audio.encoder import AudioEncoder
from animation.audio.mel import LogMel
from mmface4d.errors import InputError, UsageError

# name -> where its weights are, and what it is
PUBLISHED: dict[str, tuple[str, str]] = {
    "hubert-base": ("facebook/hubert-base-ls960", "HuBERT, 12 layers of 768, English"),
    "hubert-large": ("facebook/hubert-large-ll60k", "HuBERT, 24 layers of 1024, English"),
    "wav2vec2-base": ("facebook/wav2vec2-base-960h", "wav2vec 2.0, 12 layers of 768, English"),
    "wavlm-base-plus": ("microsoft/wavlm-base-plus", "WavLM, 12 layers of 768, English"),
    "hubert-chinese-base": ("TencentGameMate/chinese-hubert-base", "HuBERT, 12 layers of 768, Mandarin"),
}
MEL = "mel"
ENCODER_NAMES = (MEL, *PUBLISHED)
OTHER = "transformers:"


def open_encoder(spec: str, *, device: str = "cpu") -> AudioEncoder:
    """`mel`, a name of PUBLISHED, or `transformers:FOLDER_OR_ID`; the latter two with `@LAYER` where not the last.

    Raises UsageError for other names, InputError or MissingBackendError where weights are not to be had.
    """
    if spec == MEL:
        return LogMel()
    name, layer = _parsed(spec)
    if name in PUBLISHED:
        where = PUBLISHED[name][0]
    elif name.startswith(OTHER) and len(name) > len(OTHER):
        where = name.removeprefix(OTHER)
    else:
        raise UsageError(
            f"there is no audio encoder {spec!r}",
            hint=f"choose of {', '.join(ENCODER_NAMES)}, or {OTHER}FOLDER",
        )
    from animation.audio.transformers_encoder import TransformersEncoder

    return TransformersEncoder(where, name=spec if name in PUBLISHED else None, layer=layer, device=device)


def open_same_encoder(spec: str, identity: str, *, device: str = "cpu") -> AudioEncoder:
    """The encoder that a model was trained with; raises InputError where it has changed since."""
    encoder = open_encoder(spec, device=device)
    if encoder.identity != identity:
        raise InputError(
            f"the encoder {spec} is not the one of the training: {encoder.identity}",
            hint="use the same weights and versions as in the training",
        )
    return encoder


def _parsed(spec: str) -> tuple[str, int | None]:
    """What stands before @LAYER, and the layer; an @ that no number follows belongs to the name."""
    name, at, layer = spec.rpartition("@")
    return (name, int(layer)) if at and layer.isascii() and layer.isdigit() and len(layer) < 6 else (spec, None)
