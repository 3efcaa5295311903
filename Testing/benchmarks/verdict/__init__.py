"""Whether the verdict can be believed: results made right and wrong on purpose, and what is said of them."""
