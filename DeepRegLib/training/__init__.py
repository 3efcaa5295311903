"""Training networks: pairs made from nothing, and the losses they are judged by."""
