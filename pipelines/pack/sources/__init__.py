"""Where samples to be packed come from, one kind a file."""
