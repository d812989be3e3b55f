"""Public exceptions of smallvit; their messages name the problem, where it is, and a fix."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from smallvit.utils.signals import TO_BE_CONTINUED


class SmallvitError(Exception):
    """Base class of all public errors of smallvit; users see only its message."""

    #: Exit status of a tool that ends with this error.
    status = 1


class UserError(SmallvitError):
    """Invalid user input; the message says what to do."""


class WorkFolderError(UserError):
    """The work folder is in use by another training run; the message names it."""


class PreemptedError(SmallvitError):
    """Training was stopped by a signal; the message says how to resume it.

    Args:
        message (str): What was saved, and where.
    """

    status = TO_BE_CONTINUED


class CheckpointError(SmallvitError):
    """A checkpoint cannot be used; the message names it and the reason."""


class CalibrationError(CheckpointError):
    """A calibration is missing, does not match, or cannot provide what is requested."""


class NonFiniteError(SmallvitError):
    """A loss or weights are NaN or infinite; the message says where and since when."""


class BadSamplesError(SmallvitError):
    """More training samples are unreadable than allowed; the message names them."""


class DataError(SmallvitError):
    """Data cannot be used for training or evaluation; the message names the file."""


class LabelError(DataError):
    """A label is outside the model's classes; the message names the file that contains it."""


class DataShareError(SmallvitError):
    """The data cannot be divided among the processes of a run; the message says what to change."""


class FeatureStoreError(SmallvitError):
    """Stored teacher features cannot be used; the message gives the reason and a fix."""


class ImageStoreError(SmallvitError):
    """An image store cannot be opened; the message names it and a fix."""


class ImageError(SmallvitError):
    """An image cannot be read; the message names the file."""


class HostError(SmallvitError):
    """A backbone is not supported as a host, or its adapter describes it incorrectly."""


class ConversionError(SmallvitError):
    """A state dict does not match the system it should be converted for.

    Args:
        message (str): Description of the mismatch.
        unknown_keys (list[str]): Keys of the checkpoint that the system does not have.
        missing_keys (list[str]): Keys of the system that the checkpoint lacks.
    """

    def __init__(self, message: str, unknown_keys: list[str], missing_keys: list[str]) -> None:
        super().__init__(message)
        self.unknown_keys = unknown_keys
        self.missing_keys = missing_keys


def how_to_install(missing: Sequence[str]) -> str:
    """Describe which OpenMMLab packages are missing and how to install them.

    Args:
        missing (Sequence[str]): Names of the missing modules.

    Returns:
        str: The message.
    """
    are = "is" if len(missing) == 1 else "are"
    return (
        f"{', '.join(missing)} {are} not installed: install smallvit with the OpenMMLab packages, "
        "pip install -e '.[mm]', or with the onedl forks of them, pip install -e '.[onedl]' (a "
        "wheel: pip install 'SMALLVIT.whl[mm]'); tools/misc/check_env.py shows what is there"
    )


@contextmanager
def about(thing: object) -> Iterator[None]:
    """Prefix the messages of errors raised in the block with what they concern.

    The error itself propagates, with its type and attributes unchanged.

    Args:
        thing (object): The prefix, such as a file name that the raising code does not know.
    """
    try:
        yield
    except SmallvitError as error:
        error.args = (f"{thing}: {error}", *error.args[1:])
        raise
