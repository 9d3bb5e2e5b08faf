"""What people look at: tables, curves, self-contained pages."""
