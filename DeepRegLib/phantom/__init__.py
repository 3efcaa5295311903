"""Digital phantoms: a scan deformed by a known field, to commission any registration tool (AAPM TG-132)."""
