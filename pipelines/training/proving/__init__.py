"""The proof that a training loses nothing: faults, what is counted meanwhile, and what is compared in the end."""
