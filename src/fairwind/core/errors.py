"""The error tree. A message says what was expected, what was found, and what to do.

    FairwindError
      BadInput      a file, row, option or setting that cannot be used as it is
        BadConfig   a setting: unknown key, wrong type, out of bounds
      Fault         the outside world failed; retried only by the owner of the connection
        DiskFault   the disk is full, read-only or broken
      Corrupt       a record does not match its own checksum, chain or digest
        Diverged    a replay gave another result than the record

A policy's refusal is a value with a hold code, not an exception. A bug is an AssertionError.
"""


class FairwindError(Exception):
    """Everything that Fairwind raises on purpose."""


class BadInput(FairwindError):
    """A file, row, option or setting that cannot be used as it is."""


class BadConfig(BadInput):
    """A setting with an unknown key, a wrong type or a value out of bounds."""


class Fault(FairwindError):
    """The outside world failed."""


class DiskFault(Fault):
    """The disk is full, read-only or broken."""


class Corrupt(FairwindError):
    """A record does not match its own checksum, chain or digest."""


class Diverged(Corrupt):
    """A replay gave another result than the record."""
