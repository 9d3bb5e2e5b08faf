"""Entry points: parse the command line, call one verb of `pipelines`, print its outcome."""
