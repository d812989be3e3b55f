"""The errors of a run whose messages say all there is to say."""


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be used; the message names it and says why."""


class NonFiniteError(RuntimeError):
    """A loss or weights that are NaN or infinite; the message says where and since when."""


class BadSamplesError(RuntimeError):
    """More unreadable samples than a training may have; the message names them."""


class LabelError(RuntimeError):
    """A label outside the model's classes; the message names the file that has it."""


class DataShareError(RuntimeError):
    """Data that the processes of a run cannot share; the message says how to divide it."""


class FeatureStoreError(RuntimeError):
    """Stored teacher features that cannot be used; the message says why and the way out."""


class ImageStoreError(RuntimeError):
    """An image store that cannot be opened; the message names it and the way out."""


class ImageError(RuntimeError):
    """An image that cannot be read; the message names the file."""
