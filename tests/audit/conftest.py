"""The toy run of the measures serves the audit, too."""

from tests.evaluation.conftest import *  # noqa: F403
