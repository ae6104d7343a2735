"""The published CelebA-HQ: its files, and its alignment, byte for byte as the libraries of 2017 computed it.

`legacy_align` is the whole alignment; `jpeg`, `quad`, `padding`, `gaussian` and `lanczos` are its steps. They
are about equal bytes: which sums are float32, in which order, and where a half pixel was lost. The aligned
images that `celebahq build` makes follow the paper instead (`celebahq.align`).
`published`, `delta` and `checks` read what the authors published, for `celebahq.reconstruct`.
"""
