"""The metric on tensors alone, to be read in the paper's order.

`protocol` (what is measured), `randomness` (which choices are random), `laplacian` (an image as octave
bands), `descriptors` (patches of them, normalised), `wasserstein` (the distance), `influence` (what each
image does to it), `copies` (which images are the same), `measured` (figures with standard errors,
differences, corrected distances); beside it `msssim`.
"""
