"""Series in time and means of many: frames registered to one reference, and an unbiased template of a group."""
