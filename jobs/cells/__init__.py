"""One cell from plan to record: the worker, its chunks, its ranks, and what is known of it meanwhile."""
