"""Reading and writing the files of data sets: images, LMDB stores, lists of labels."""
