"""Both passes of a scan on the workers of a runner."""
