"""The fixtures of the methods' tests serve their shared parts, too."""

from tests.methods.conftest import *  # noqa: F403
