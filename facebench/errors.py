"""Errors that a user can act on: one class per thing to fix, each message one line."""


class FacebenchError(Exception):
    """Base of all errors shown to the user as one line, without a traceback."""


class CodecError(FacebenchError):
    """A codec cannot encode this picture or decode this payload."""


class UnsupportedSize(CodecError):
    """A codec does not work at the picture size it was asked for."""


class SettingError(FacebenchError):
    """A codec setting is unknown, of the wrong type or out of range."""


class UnknownName(FacebenchError):
    """No codec, metric, image set or masker has this name."""


class PluginError(FacebenchError):
    """A plugin breaks the contract: it fails to import, or its names collide."""


class DataError(FacebenchError):
    """An image set is missing, unreadable or not what it should be."""


class WeightsError(FacebenchError):
    """A weights file is missing, damaged or made for something else."""


class ResultsError(FacebenchError):
    """A results folder is missing, damaged or cannot be written."""


class EngineError(FacebenchError):
    """What runs the shards is missing, unreachable, gone or of another version than this process."""


class NotComparable(FacebenchError):
    """Runs cannot be ranked together: their data or metric definitions differ."""
