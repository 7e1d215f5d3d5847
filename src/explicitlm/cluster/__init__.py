"""Training on a machine without network and git: prepare here, train there, finish here."""
