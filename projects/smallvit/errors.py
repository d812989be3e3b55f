"""The errors of smallvit, whose messages say what is wrong, where, and the way out."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from smallvit.utils.signals import TO_BE_CONTINUED


class SmallvitError(Exception):
    """Root of every public error of smallvit; its message alone is shown to the user."""

    #: Exit status of a tool that ends with it.
    status = 1


class UserError(SmallvitError):
    """A mistake in what the user gave; the message tells what to do."""


class WorkFolderError(UserError):
    """A work folder in which another training works; the message says which one."""


class PreemptedError(SmallvitError):
    """A training that a signal asked to end; the message says where it goes on from.

    Args:
        message (str): What was saved.
    """

    status = TO_BE_CONTINUED


class CheckpointError(SmallvitError):
    """A checkpoint that cannot be used; the message names it and says why."""


class CalibrationError(CheckpointError):
    """A calibration that is missing, does not fit, or cannot give what is asked of it."""


class NonFiniteError(SmallvitError):
    """A loss or weights that are NaN or infinite; the message says where and since when."""


class BadSamplesError(SmallvitError):
    """More unreadable samples than a training may have; the message names them."""


class DataError(SmallvitError):
    """Data that cannot be trained on or measured as they are; the message names the file."""


class LabelError(DataError):
    """A label outside the model's classes; the message names the file that has it."""


class DataShareError(SmallvitError):
    """Data that the processes of a run cannot share; the message says how to divide it."""


class FeatureStoreError(SmallvitError):
    """Stored teacher features that cannot be used; the message says why and the way out."""


class ImageStoreError(SmallvitError):
    """An image store that cannot be opened; the message names it and the way out."""


class ImageError(SmallvitError):
    """An image that cannot be read; the message names the file."""


class HostError(SmallvitError):
    """A backbone that the view of hosts does not know, or an adapter that describes it wrongly."""


class ConversionError(SmallvitError):
    """A state dict that does not fit a system.

    Args:
        message (str): What is wrong.
        unknown_keys (list[str]): Keys that the system does not know.
        missing_keys (list[str]): Keys that the checkpoint lacks.
    """

    def __init__(self, message: str, unknown_keys: list[str], missing_keys: list[str]) -> None:
        super().__init__(message)
        self.unknown_keys = unknown_keys
        self.missing_keys = missing_keys


def how_to_install(missing: Sequence[str]) -> str:
    """Say which OpenMMLab packages are missing, and the ways to get them.

    Args:
        missing (Sequence[str]): Their modules.

    Returns:
        str: One sentence.
    """
    are = "is" if len(missing) == 1 else "are"
    return (
        f"{', '.join(missing)} {are} not installed: install smallvit with the OpenMMLab packages, "
        "pip install -e '.[mm]', or with the onedl forks of them, pip install -e '.[onedl]' (a "
        "wheel: pip install 'SMALLVIT.whl[mm]'); tools/misc/check_env.py shows what is there"
    )


@contextmanager
def about(thing: object) -> Iterator[None]:
    """Let the errors of a block begin with what they are about.

    The error itself goes on, of the same type and with all that it carries.

    Args:
        thing (object): A file, for example, which what raises the error does not know.
    """
    try:
        yield
    except SmallvitError as error:
        error.args = (f"{thing}: {error}", *error.args[1:])
        raise
