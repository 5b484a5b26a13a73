"""Pages, letter and figures of a run.

Also the verb `forgetmi.report`: the package can be called (see `forgetmi.report.front_door.report`).
"""

from forgetmi.core.callable_package import make_callable

make_callable(__name__, "forgetmi.report.front_door:report")
