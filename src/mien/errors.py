"""Every error that mien raises on purpose. Imports nothing.

    MienError
    ├── SourceError    a picture, folder, video or stream cannot be read
    ├── ModelError     a model file is missing, altered or not one of ours
    ├── ConfigError    a recipe or an option says something we do not know
    │   └── DivergedError  a recipe whose training ends in a loss that is no number
    ├── DatasetError   a data set is missing, empty or not in a layout we read
    └── SinkError      a result cannot be written where it was asked to go

A message says what went wrong, with which file, what was expected and what was
found, and what to do next. A caller's programming mistake (a wrong array shape,
a negative size) stays a plain `ValueError`.
"""


class MienError(Exception):
    """Base of every error that comes from the input, not from a defect of mien."""


class SourceError(MienError):
    """A picture, folder, video or stream cannot be read."""


class ModelError(MienError):
    """A model file is missing, has the wrong hash, or carries no `ModelSpec`."""


class ConfigError(MienError):
    """A recipe or an option holds an unknown key or an impossible value."""


class DivergedError(ConfigError):
    """A recipe does not learn: its loss became infinite or no number."""


class DatasetError(MienError):
    """A data set is missing, empty, or in no layout that mien reads."""


class SinkError(MienError):
    """A result cannot be written to the output that was asked for."""
