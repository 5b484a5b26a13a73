"""The generated cohort: radiographs and reports of nobody."""
