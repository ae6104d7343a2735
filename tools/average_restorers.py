"""Average the weights of several runs of one restoration network, of which each began where another ended.

Such an average lies nearer to the middle of the valley that the runs wander through, and generalises better
than any of them (Izmailov et al. 2018; Wortsman et al. 2022). A file given several times counts for more.

Example:
    python tools/average_restorers.py second.safetensors third.safetensors --out mean.safetensors
"""

import argparse
import sys
from pathlib import Path

import torch

from celebahq.errors import ToolError
from celebahq.files import sha256_file
from celebahq.restore.checkpoints import load_network, save_network
from celebahq.restore.networks import Network


def average(networks: list[Network]) -> Network:
    """The first network with the mean of all their weights.

    Raises:
        ToolError: They are not of one architecture.
    """
    first, *others = networks
    for other in others:
        if (type(other), other.config) != (type(first), first.config):
            raise ToolError("networks of different architectures have no average")
    tables = [network.state_dict() for network in networks]
    first.load_state_dict(
        {name: torch.stack([table[name] for table in tables]).mean(0) for name in tables[0]}
    )
    return first


def main() -> None:
    """Read, average, write; the result tells what it was made of."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.safetensors")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE.safetensors")
    parser.add_argument("--name", default="jpeg", help="of the network, for its metadata")
    arguments = parser.parse_args()
    result = average([load_network(path) for path in arguments.files])
    sources = " ".join(sha256_file(path) for path in arguments.files)
    save_network(arguments.out, result, {"name": arguments.name, "average_of_sha256": sources})


if __name__ == "__main__":
    try:
        main()
    except (ToolError, OSError) as err:
        sys.exit(f"average_restorers: {err}")
