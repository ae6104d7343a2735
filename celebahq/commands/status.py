"""`celebahq status`: how far a job is."""

from pathlib import Path

import click

from celebahq.arguments import json_option
from celebahq.console import emit_json


@click.command("status")
@click.argument("out", type=click.Path(path_type=Path), metavar="OUT.h5")
@json_option
def status_command(out: Path, as_json: bool) -> None:
    """Say how far the job that makes OUT.h5 is: build, import or reconstruct; at work, interrupted, finished.

    While it is at work, its page stands where its report will be, beside OUT.h5: the same, with the best and
    the worst faces so far. In a browser it reloads itself.

    \b
    Example:
      celebahq status faces.h5
    """
    from celebahq.status import job_status
    from celebahq.status_page import write_status_page

    found = job_status(out)
    if found.state == "interrupted":  # a job that was killed could not say so
        write_status_page(out)
        found = job_status(out)
    if as_json:
        emit_json(found.to_json())
    else:
        click.echo("\n".join([*found.lines(), *([f"page: {found.page}"] if found.page else [])]))
