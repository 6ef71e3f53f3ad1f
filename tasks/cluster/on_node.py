"""The flow that nodes see above the tasks that they run."""


def nothing() -> None:
    """Stand for the function of a flow whose tasks run on nodes, where the flow itself does not."""
