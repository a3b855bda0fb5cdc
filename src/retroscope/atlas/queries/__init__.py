"""All SQL that reads or writes an atlas; `schema.py` beside this folder has the tables."""
