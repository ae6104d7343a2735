"""The `celebahq` command; each of its commands is a function in `celebahq.commands`."""

import click

from celebahq.commands.build import build_command
from celebahq.commands.importing import import_command
from celebahq.commands.publishing import export, select
from celebahq.commands.pyramid_tools import compare, extract, inspect, sheet, verify
from celebahq.commands.reconstruct import reconstruct_command
from celebahq.commands.restore import restore
from celebahq.commands.status import status_command
from celebahq.console import ToolGroup

COMMANDS = [
    build_command,
    restore,
    reconstruct_command,
    import_command,
    status_command,
    inspect,
    verify,
    compare,
    extract,
    sheet,
    select,
    export,
]


@click.group(cls=ToolGroup, commands=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="celebahq-toolkit", prog_name="celebahq")
def main() -> None:
    """Rebuild CelebA-HQ from in-the-wild photos, and make data sets like it from any folder."""
