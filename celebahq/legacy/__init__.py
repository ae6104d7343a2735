"""The published CelebA-HQ's alignment, byte for byte as its libraries of 2017 computed it.

`legacy_align` is the whole procedure; each module is one of its steps. Everything here is about equal
bytes: which sums are float32, in which order, and where a half pixel was lost. The aligned images that
`celebahq build` makes follow the paper instead (`celebahq.geometry`, `celebahq.crop`).
"""
