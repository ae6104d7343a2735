"""All sources of `celebahq import`: to add one, write its module and describe it here."""

from typing import NamedTuple


class Source(NamedTuple):
    """A source as the help shows it; its module is imported when it is used, so that help stays fast."""

    name: str
    """In the command."""
    location: str
    """Module in this package, and class."""
    expects: str
    """What must be on disk."""
    origin: str
    """Where it comes from, and its size."""
    options: frozenset[str] = frozenset()
    """Names of the `ImportOptions` that it understands."""
    is_file: bool = False
    """It is one file; the others are folders."""


ALL = (
    Source(
        "folder",
        "folder.FolderOfImages",
        "pictures of any format, in sub-folders too, all squares of the same power of two, or resized to "
        "be that; classes from dataset.json if it is there, or with --folder-labels from the "
        "sub-folders' names",
        "your own pictures, or celebahq export --to folder",
        frozenset({"folder_labels", "resize", "center_crop"}),
    ),
    Source(
        "celeba",
        "celeba_aligned.AlignedCelebA",
        "img_align_celeba/ (JPEG) or img_align_celeba_png/ with 202,599 aligned pictures of 178x218; 128x128 "
        "are cut out around (89, 121)",
        "img_align_celeba.zip (1.3 GB) from https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
        frozenset({"partial"}),
    ),
    Source(
        "cifar10",
        "cifar.Cifar10",
        "cifar-10-batches-py/ with data_batch_1 ... data_batch_5 (50,000 images) and test_batch (10,000)",
        "cifar-10-python.tar.gz (163 MB) from https://www.cs.toronto.edu/~kriz/cifar.html",
        frozenset({"split", "partial"}),
    ),
    Source(
        "cifar100",
        "cifar.Cifar100",
        "cifar-100-python/ with train (50,000 images) and test (10,000); the 100 fine classes are taken",
        "cifar-100-python.tar.gz (161 MB) from https://www.cs.toronto.edu/~kriz/cifar.html",
        frozenset({"split", "partial"}),
    ),
    Source(
        "mnist",
        "mnist.Mnist",
        "train-images-idx3-ubyte.gz and train-labels-idx1-ubyte.gz (60,000 digits), or t10k-... (10,000); "
        "28x28, padded to 32x32",
        "four files (12 MB) from http://yann.lecun.com/exdb/mnist/",
        frozenset({"split", "partial"}),
    ),
    Source(
        "mnist-rgb",
        "mnist.MnistRgb",
        "the training files of mnist; three random digits become red, green and blue, 1,000,000 times unless "
        "--max-images says fewer",
        "four files (12 MB) from http://yann.lecun.com/exdb/mnist/",
        frozenset({"partial"}),
    ),
    Source(
        "svhn",
        "svhn.Svhn",
        "train_32x32.mat (73,257 digits) or test_32x32.mat (26,032)",
        "two files (182 MB, 64 MB) from http://ufldl.stanford.edu/housenumbers/",
        frozenset({"split", "partial"}),
    ),
    Source(
        "lsun",
        "lsun.Lsun",
        "an LMDB folder (data.mdb) of encoded pictures; their centre square is scaled to --resolution",
        "bedroom_train_lmdb.zip (43 GB) and the like from https://www.yf.io/p/lsun",
        frozenset({"resolution"}),
    ),
    Source(
        "hdf5",
        "hdf5.Hdf5Pyramid",
        "a file with data{r}x{r} [N, C, r, r], labels in it or beside it as NAME-labels.npy; it is written "
        "anew, with another --codec if wanted",
        "files made for the paper's original code, or by this toolkit",
        is_file=True,
    ),
    Source(
        "tfrecord",
        "tfrecord.TFRecords",
        "a folder with NAME-r02.tfrecords (4x4), NAME-r03.tfrecords, ... and, with labels, NAME-rxx.labels",
        "the TensorFlow version's dataset_tool.py, or celebahq export --to tfrecord",
    ),
    Source(
        "zip",
        "folder.ZipOfImages",
        "a zip of pictures, all squares of the same power of two, with dataset.json for the labels if any",
        "StyleGAN's dataset_tool.py, or celebahq export --to zip",
        is_file=True,
    ),
)
SOURCES = {source.name: source for source in ALL}
