"""The dynamic providers. Their module paths are frozen for ever: they are pickled into every stack's state."""
