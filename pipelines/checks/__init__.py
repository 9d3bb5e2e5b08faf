"""What `doctor` checks. A library that a check needs is imported by that check: where it is broken, others go on."""
