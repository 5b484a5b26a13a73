"""The audit: a declared rule, the verdict on a run or several, patient by patient.

Also the verb `forgetmi.audit`: the package can be called (see `forgetmi.audit.front_door.audit`).
"""

from forgetmi.core.callable_package import make_callable

make_callable(__name__, "forgetmi.audit.front_door:audit")
