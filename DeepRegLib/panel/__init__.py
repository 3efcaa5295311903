"""What the Slicer module's widget is made of; the only room that knows Qt."""
