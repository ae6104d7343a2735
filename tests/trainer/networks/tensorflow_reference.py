"""The TensorFlow networks in NumPy, from the definitions of their operations; slow and only for tests.

Variables keep TensorFlow's names and layouts. Convolutions are sums over shifted pictures; the transposed
convolution scatters every input pixel. Images are full-size, as the originals' are.
"""

import numpy as np


def random_variables(rng, resolution, width, latent_size, label_size=0, *, fused):
    """Variables of G and D with `width` feature maps everywhere, in TensorFlow's layouts."""
    levels = [1 << p for p in range(2, int(np.log2(resolution)) + 1)]
    G, D = {}, {}

    def add(network, name, *shape, bias):
        network[f"{name}/weight"] = rng.standard_normal(shape).astype(np.float32)
        network[f"{name}/bias"] = rng.standard_normal(bias).astype(np.float32)

    add(G, "4x4/Dense", latent_size + label_size, width * 16, bias=width)
    add(G, "4x4/Conv", 3, 3, width, width, bias=width)
    add(D, "4x4/Conv", 3, 3, width + 1, width, bias=width)
    add(D, "4x4/Dense0", width * 16, width, bias=width)
    add(D, "4x4/Dense1", width, 1 + label_size, bias=1 + label_size)
    for r in levels:
        lod = int(np.log2(resolution // r))
        add(G, f"ToRGB_lod{lod}", 1, 1, width, 3, bias=3)
        add(D, f"FromRGB_lod{lod}", 1, 1, 3, width, bias=width)
        if r > 4:
            add(G, f"{r}x{r}/{'Conv0_up' if fused else 'Conv0'}", 3, 3, width, width, bias=width)
            add(G, f"{r}x{r}/Conv1", 3, 3, width, width, bias=width)
            add(D, f"{r}x{r}/Conv0", 3, 3, width, width, bias=width)
            add(D, f"{r}x{r}/{'Conv1_down' if fused else 'Conv1'}", 3, 3, width, width, bias=width)
    return G, D


def generate(V, latents, labels, lod, resolution, *, fused):
    """G_paper: `[N, 3, resolution, resolution]`."""
    x = pixel_norm(np.concatenate([latents, labels], axis=1).astype(np.float64))
    w = V["4x4/Dense/weight"] * (np.sqrt(2) / 4 / np.sqrt(x.shape[1]))
    x = (x @ w).reshape(len(x), -1, 4, 4) + V["4x4/Dense/bias"][:, None, None]
    x = pixel_norm(leaky(x))
    features = {4: pixel_norm(leaky(conv(V, "4x4/Conv", x)))}
    for r in [1 << p for p in range(3, int(np.log2(resolution)) + 1)]:
        x = features[r // 2]
        x = transposed_conv(V, f"{r}x{r}/Conv0_up", x) if fused else conv(V, f"{r}x{r}/Conv0", up(x))
        x = pixel_norm(leaky(x))
        features[r] = pixel_norm(leaky(conv(V, f"{r}x{r}/Conv1", x)))

    def colours(level):
        image = conv(V, f"ToRGB_lod{level}", features[resolution >> level], gain=1.0)
        for _ in range(level):
            image = up(image)
        return image

    level, fade = int(np.floor(lod)), lod - np.floor(lod)
    return colours(level) if fade == 0 else (1 - fade) * colours(level) + fade * colours(level + 1)


def judge(V, images, lod, resolution, group, *, fused):
    """D_paper: `[N, 1 + label_size]` for full-size images."""
    level, fade = int(np.floor(lod)), lod - np.floor(lod)

    def colours(at):
        small = images.astype(np.float64)
        for _ in range(at):
            small = down(small)
        return leaky(conv(V, f"FromRGB_lod{at}", small))

    x, r = colours(level), resolution >> level
    while r > 4:
        x = leaky(conv(V, f"{r}x{r}/Conv0", x))
        x = (
            leaky(strided_conv(V, f"{r}x{r}/Conv1_down", x))
            if fused
            else down(leaky(conv(V, f"{r}x{r}/Conv1", x)))
        )
        if r == resolution >> level and fade > 0:
            x = (1 - fade) * x + fade * colours(level + 1)
        r //= 2
    x = leaky(conv(V, "4x4/Conv", minibatch_stddev(x, group))).reshape(len(x), -1)
    w = V["4x4/Dense0/weight"]
    x = leaky(x @ (w * np.sqrt(2 / w.shape[0])) + V["4x4/Dense0/bias"])
    w = V["4x4/Dense1/weight"]
    return x @ (w * np.sqrt(1 / w.shape[0])) + V["4x4/Dense1/bias"]


def conv(V, name, x, gain=2**0.5):
    """conv2d, SAME: y[o, i, j] = sum over a, b, c of x[c, i + a - p, j + b - p] w[a, b, c, o]."""
    w = V[f"{name}/weight"].astype(np.float64)
    size = w.shape[0]
    w = w * gain / np.sqrt(size * size * w.shape[2])
    height, width = x.shape[2:]
    padded = np.pad(x, ((0, 0), (0, 0), (size // 2, size // 2), (size // 2, size // 2)))
    y = sum(
        np.einsum("nchw,co->nohw", padded[:, :, a : a + height, b : b + width], w[a, b])
        for a in range(size)
        for b in range(size)
    )
    return y + V[f"{name}/bias"][:, None, None]


def shifted_sum(w):
    """The 4x4 kernel of the fused layers, `[4, 4, ., .]`."""
    padded = np.zeros((5, 5, *w.shape[2:]))
    padded[1:4, 1:4] = w
    return np.array([[padded[a : a + 2, b : b + 2].sum(axis=(0, 1)) for b in range(4)] for a in range(4)])


def transposed_conv(V, name, x):
    """conv2d_transpose, SAME, stride 2: each x[c, i, j] adds w[a, b, o, c] at (2i + a - 1, 2j + b - 1)."""
    w = V[f"{name}/weight"].astype(np.float64)  # [3, 3, out, in]
    w = shifted_sum(w * np.sqrt(2 / (9 * w.shape[3])))
    count, _, height, width = x.shape
    y = np.zeros((count, w.shape[2], 2 * height + 2, 2 * width + 2))
    for i in range(height):
        for j in range(width):
            y[:, :, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4] += np.einsum("nc,aboc->noab", x[:, :, i, j], w)
    return y[:, :, 1:-1, 1:-1] + V[f"{name}/bias"][:, None, None]


def strided_conv(V, name, x):
    """conv2d, SAME, stride 2, with a quarter of the summed kernel."""
    w = V[f"{name}/weight"].astype(np.float64)  # [3, 3, in, out]
    w = shifted_sum(w * np.sqrt(2 / (9 * w.shape[2]))) / 4
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    count, _, height, width = x.shape
    y = np.zeros((count, w.shape[3], height // 2, width // 2))
    for i in range(height // 2):
        for j in range(width // 2):
            y[:, :, i, j] = np.einsum("ncab,abco->no", padded[:, :, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4], w)
    return y + V[f"{name}/bias"][:, None, None]


def minibatch_stddev(x, group):
    """Appends the mean deviation of the group's images: image n is in group n mod (N / group)."""
    count = len(x) // min(group, len(x))
    statistic = np.empty((len(x), 1, *x.shape[2:]))
    for g in range(count):
        members = x[g::count]
        statistic[g::count] = np.sqrt(((members - members.mean(axis=0)) ** 2).mean(axis=0) + 1e-8).mean()
    return np.concatenate([x, statistic], axis=1)


def pixel_norm(x):
    return x / np.sqrt((x**2).mean(axis=1, keepdims=True) + 1e-8)


def leaky(x):
    return np.where(x > 0, x, 0.2 * x)


def up(x):
    return x.repeat(2, axis=2).repeat(2, axis=3)


def down(x):
    return (x[:, :, ::2, ::2] + x[:, :, 1::2, ::2] + x[:, :, ::2, 1::2] + x[:, :, 1::2, 1::2]) / 4
