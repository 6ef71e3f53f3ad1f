"""The store of results: variants, parts, atomic writes, caches and local copies."""
