"""Reading and writing of dataset files: images, multi-band arrays, LMDB stores, image lists."""
