"""What is made once and kept in the cache: programs from Go modules, images from a Dockerfile."""
