from tests.tasks.evaluation.conftest import pool, split_world, world

__all__ = ["pool", "split_world", "world"]
