"""The errors that a user meets. Each message is one line: what came, what was expected, where."""


class FedTinyError(Exception):
    """Base of every error that fedtiny raises on purpose."""


class ConfigError(FedTinyError):
    """A configuration file, flag or combination of sizes that cannot work."""


class DataError(FedTinyError):
    """A recording or a data folder that cannot be used."""


class ReleaseError(FedTinyError):
    """A file that is not a usable release, or a head that does not fit it."""


class StorageError(FedTinyError):
    """Durable state that cannot be read or written: a full disk, a damaged or locked database."""


class DamagedError(StorageError):
    """A file that is gone or no longer what it was: trying again mends nothing."""


class ProtocolError(FedTinyError):
    """A peer's bad message: counted and logged by the receiver, never fatal."""


class TransportError(FedTinyError):
    """The broker cannot be reached or refused us."""
