"""What a large run needs: GPUs for how long, memory on each, what its loaders, cores, network and storage have to give."""
