"""The process boundary: the pipeline runs in a worker process that a client without torch drives over two pipes."""
