"""Errors that are a user's to mend; the command line shows them as one line and exits with 2.

Bad arguments are ValueErrors, of these classes or plain ones.
"""

from __future__ import annotations


class SegueError(Exception):
    """Something that a user can mend; the message names the file or value, and the mend."""


class DataError(SegueError, ValueError):
    """Something is wrong with a file or a folder of pictures."""


class SaveError(SegueError):
    """A file could not be written; what was there before is intact."""


class NonFiniteLoss(SegueError):
    """A loss term was not a number; the message names step, term and pictures."""
