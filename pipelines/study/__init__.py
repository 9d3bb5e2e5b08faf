"""The search for λ1–λ4: its space, its record, its trials, its page."""
