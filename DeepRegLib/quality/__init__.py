"""The quality sheet of a registration: the items of AAPM's TG-132, each beside its limit and graded."""
