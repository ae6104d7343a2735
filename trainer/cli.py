"""The `trainer` command; each of its commands is a function in `trainer.commands`."""

import click

from celebahq.console import ToolGroup
from celebahq.terminal import on_terminal
from trainer.commands.snapshots import evaluate, export, generate, grid, import_, modes, video
from trainer.commands.status import status_command
from trainer.commands.training import bench, presets, resume, run

COMMANDS = [
    run,
    resume,
    status_command,
    presets,
    bench,
    generate,
    grid,
    video,
    evaluate,
    modes,
    export,
    import_,
]


@click.group(cls=ToolGroup, commands=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="celebahq-toolkit", prog_name="trainer")
@click.pass_context
def main(context: click.Context) -> None:
    """Train progressive GANs, continue them, and use what was trained."""
    context.obj = context.with_resource(on_terminal("trainer"))
