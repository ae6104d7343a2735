"""The failures that a user can act on."""


class ToolError(Exception):
    """Something outside the program is not as it must be.

    The message is one line: the subject (a file, an option), what was found, and what to do about it.
    Commands print it on stderr and exit with status 1.
    """


class FormatError(ToolError):
    """A file is not what its name or its header says."""


class MissingExtraError(ToolError):
    """An optional dependency is needed for what was asked."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package '{package}', which is not installed: "
            f"pip install 'celebahq-toolkit[{extra}]'"
        )


def describe_error(err: ToolError | OSError) -> str:
    """One line for people: what it is about, and what is wrong with it."""
    if isinstance(err, OSError) and err.strerror:
        return err.strerror if err.filename is None else f"{err.filename}: {err.strerror}"
    return str(err)
