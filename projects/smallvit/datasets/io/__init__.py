"""Input and output of dataset files: images, LMDB stores, lists of labels."""
