"""Mixing methods: one file each, named as the method is named in configs. The folder is the registry."""
