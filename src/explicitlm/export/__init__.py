"""`explicitlm export`: a finished experiment as a folder that a hub, an archive or a reviewer takes."""
