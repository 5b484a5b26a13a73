"""The audit: a declared rule, the verdict on a run or several, patient by patient."""
