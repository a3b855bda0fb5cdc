"""What the methods return: frozen values of numpy arrays that do not know how they look."""
