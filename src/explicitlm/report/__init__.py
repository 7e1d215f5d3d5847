"""`explicitlm report`: what a project's experiments say, in one file that needs no network."""
