"""Pattern synthesis in the four parts of lucid: objectives, parametrisation, transforms, render."""
