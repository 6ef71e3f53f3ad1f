"""What a store may lose: which variants, parts and files nothing needs, and removing them."""
