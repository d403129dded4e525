"""One folder a task, each whole: options, reader, model, figures. Found by the entry-point group
``tinyrnn.tasks``.
"""
