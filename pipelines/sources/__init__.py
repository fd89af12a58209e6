"""One kind of source a file: tar shards, folders of images, arrays in memory."""
