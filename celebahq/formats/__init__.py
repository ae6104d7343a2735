"""File formats: the HDF5 pyramid, which the other packages open through `celebahq.pyramid`, and TFRecord."""
