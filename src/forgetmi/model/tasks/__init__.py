"""The training halves of the tasks, one file a task; `forgetmi.core.task.Task` says what each function is."""
