"""What a run would compute and why, and what it would cost: nothing here computes or writes."""
