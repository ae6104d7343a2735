"""Generator and discriminator, their layers, variants and moving average."""
