"""Sets of out-of-distribution images: held-out classes, made up, folders, torchvision's."""
