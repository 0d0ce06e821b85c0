"""What is shipped for running it elsewhere."""
