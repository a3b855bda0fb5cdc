"""The engine: what a network runs, what each unit sees, and the way back, without a trace."""
