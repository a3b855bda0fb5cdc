"""Auditing an atlas: rules that look for what is wrong, or may be, in a network and its images."""
