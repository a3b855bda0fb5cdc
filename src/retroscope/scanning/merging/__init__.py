"""Finished atlases of one network, over different images, joined into one."""
