"""The rules that raw data are held to, one kind of look per file."""
