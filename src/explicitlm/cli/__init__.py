"""The command line: one file a subject."""

from explicitlm.common.interrupts import quiet

quiet()
