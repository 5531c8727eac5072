"""Stage kinds: one module each, with a `run` that takes the job, its arguments and its inputs."""
