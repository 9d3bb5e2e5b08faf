"""Entry points: parse, call one verb of `pipelines`, print the artifact."""
