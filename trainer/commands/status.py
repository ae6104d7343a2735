"""The command that looks at a run: status."""

from pathlib import Path

import click

from celebahq.arguments import FOLDER, json_option
from celebahq.console import emit_json


@click.command("status")
@click.argument("run", type=FOLDER)
@json_option
def status_command(run: Path, as_json: bool) -> None:
    """Say how far a run is; it may be at work, interrupted or finished.

    A run at work writes its page, RUN/index.html, after every tick: curves, the newest images, and the
    distances that were measured. In a browser it reloads itself. Of any other run this writes it anew.

    \b
    Example:
      trainer status runs/00000-faces-64
    """
    from trainer.storage.run_status import run_status
    from trainer.use.run_page import PAGE, write_run_page

    found = run_status(run)
    page = run / PAGE
    if found.state != "running":
        write_run_page(run)
    if as_json:
        emit_json({**found.to_json(), "page": str(page)})
    else:
        click.echo("\n".join([*found.lines(), f"page: {page}"]))
