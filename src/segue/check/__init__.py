"""The doctor: looks through a data set for whatever would make training stop, or learn what is not so."""

from segue.check.checking import Checked, check

__all__ = ["Checked", "check"]
