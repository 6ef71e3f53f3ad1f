"""What runs on the nodes of a Ray cluster beside the tasks of the stages."""
