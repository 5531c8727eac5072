"""Stage kinds: one module per kind, named after it; its `run` takes job, config and inputs."""
