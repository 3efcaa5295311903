"""The stages of a registration, each a function of a `Run`; `pipeline` puts them in order."""
