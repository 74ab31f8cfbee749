"""What the sub-commands do; heavy modules are imported inside the functions that need them."""
