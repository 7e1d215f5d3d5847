"""`python -m explicitlm` is `explicitlm`: on a compute node, with the code that was sent there on PYTHONPATH."""

from explicitlm.cli.main import main

main()
