"""The `trainer` command: one function per command, each one library call."""

import click

from celebahq.console import ToolGroup


@click.group(cls=ToolGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="celebahq-toolkit")
def main() -> None:
    """Train progressive GANs, continue them, and use what was trained."""
