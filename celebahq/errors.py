"""The failures that a user can act on."""


class ToolError(Exception):
    """Something outside the program is not as it must be.

    As text it is one line, `SUBJECT: REASON`. Commands print it on stderr and exit with status 1.

    Whatever a file or a name holds, its control characters are escapes.

    >>> import celebahq
    >>> str(celebahq.ToolError("fakes", "9,214 images, but --images asks for 16,384"))
    'fakes: 9,214 images, but --images asks for 16,384'
    """

    def __init__(self, subject: object, reason: str = "") -> None:
        """Args:
        subject: What it is about: a file, an option. A single argument is the reason, of a subject that the
            reader knows.
        reason: What was found, and what to do about it.
        """
        super().__init__(*(subject, reason) if reason else (subject,))
        self.subject = str(subject) if reason else ""
        self.reason = reason or str(subject)

    def __str__(self) -> str:
        return one_line(f"{self.subject}: {self.reason}" if self.subject else self.reason)

    def beside(self, name: object) -> str:
        """What to say where `name` stands already: the reason alone where that is the subject."""
        return self.reason if self.subject == str(name) else str(self)


class FormatError(ToolError):
    """A file is not what its name or its header says."""


class WrongUse(ToolError):
    """Options that do not fit together, or what they name; commands end with status 2."""


class MissingExtraError(ToolError):
    """An optional dependency is needed for what was asked."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package '{package}', which is not installed: "
            f"pip install 'celebahq-toolkit[{extra}]'"
        )
        self.args = (package, extra, purpose)  # of which pickle makes it again


TOO_LITTLE_MEMORY = "reading it takes more memory than there is; run less at a time, or the file is damaged"
"""What readers say of a MemoryError, which a damaged file can bring about as well as a busy machine."""


def one_line(text: str) -> str:
    """Text with its control characters (a newline in a file's name, say) as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def describe_error(err: ToolError | OSError) -> str:
    """One line for people: what it is about, and what is wrong with it."""
    if isinstance(err, OSError) and err.strerror:
        return err.strerror if err.filename is None else f"{err.filename}: {err.strerror}"
    return str(err)


def is_out_of_memory(err: BaseException) -> bool:
    """Whether an allocation has failed, in Python, in PyTorch or on a device."""
    if isinstance(err, MemoryError):
        return True
    return isinstance(err, RuntimeError) and any(words in str(err) for words in _PYTORCH_OUT_OF_MEMORY)


_PYTORCH_OUT_OF_MEMORY = ("out of memory", "can't allocate memory")  # on devices, on the CPU
