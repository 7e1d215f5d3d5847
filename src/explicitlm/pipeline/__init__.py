"""The stages of dvc.yaml, one file each, and what they are made of."""

from explicitlm.common.interrupts import quiet

quiet()
