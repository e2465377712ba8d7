"""Programs that do the heavy or dangerous work in processes of their own; see `serve` for how they speak."""
