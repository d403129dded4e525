"""The trainer, its plan, the run folder and resumption. Knows tasks by their protocol only (`task.Task`)."""
