"""The conformance suite that a codec's author runs: ``check_codec("mycodec").raise_if_failed()``.

The codec under test runs in child processes only, so that one which hangs, crashes or eats memory fails the
check it does so in and nothing else.
"""

from facebench.testing.report import CheckResult, Report
from facebench.testing.suite import check_codec, check_names

__all__ = ["CheckResult", "Report", "check_codec", "check_names"]
