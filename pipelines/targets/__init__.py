"""Where jobs run: what a job is, and how each target is sent one."""
