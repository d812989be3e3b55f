"""Input and output of data set files: images, LMDB stores, lists of labels."""
