"""A speech corpus made of numbers, for comparisons where no recordings may be had.

`face` is a mesh and what its regions can do; `sounds` are the phonemes of a small language, `script` makes sentences of
it, `delivery` says when a speaker says which sound and with what melody; `style` is a person's manner, `acting` turns
both into a moving face, `voice` into sound. `corpus` puts them together.
"""

from animation.data.synthetic.corpus import make_corpus

__all__ = ["make_corpus"]
